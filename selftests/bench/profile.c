// SPDX-License-Identifier: GPL-2.0
/*
 * A plug-in of qemu that counts which instructions a guest executes while it measures,
 * and which of them are locked:
 *
 *	qemu-system-x86_64 -plugin profile.so,out=FILE ...
 *
 * The guest says by instructions that do nothing when it measures: those of BENCH_MARK()
 * in xtun_bench.c, "nopl NUMBER(%rax)". RESET forgets, BEGIN and END are before and after
 * what counts. It writes
 *
 *	reset
 *	batch LOCKED
 *	dump
 *	ADDRESS INSTRUCTIONS TIMES LOCKED
 *
 * the first for RESET, the second for END, with the locked instructions since BEGIN, the
 * others for DUMP, with a line for each block of instructions: its address in hexadecimal,
 * how many instructions it has, how often it was entered and how many of them are locked.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

/* Which version of the interface this is made for. */
QEMU_PLUGIN_EXPORT int qemu_plugin_version = PLUGIN_API;

/* Numbers of the marks, as in xtun_bench.c. */
enum {
	MARK_RESET = 0x7874756e,
	MARK_BEGIN,
	MARK_END,
	MARK_DUMP,
};

#define INSN_MAX	16
/* "nopl disp32(%rax)" */
static const unsigned char mark_opcode[] = { 0x0f, 0x1f, 0x80 };

struct block {
	struct block *next;
	unsigned long vaddr;
	unsigned long times;
	unsigned int insns;
	unsigned int locked;
};

#define BUCKETS		65536

static struct block *blocks[BUCKETS];
static bool counting;
static unsigned long batch_locked;
static FILE *out;

static size_t insn_bytes(const struct qemu_plugin_insn *insn, unsigned char *to)
{
	size_t len = qemu_plugin_insn_size(insn);

	if (len > INSN_MAX)
		len = INSN_MAX;
#if PLUGIN_API < 3
	memcpy(to, qemu_plugin_insn_data(insn), len);
#else
	len = qemu_plugin_insn_data(insn, to, len);
#endif
	return len;
}

/* With the prefix, or an exchange with memory, which is locked without. */
static bool insn_locked(const unsigned char *bytes, size_t len)
{
	bool lock = false;
	size_t at;

	for (at = 0; at < len; at++) {
		switch (bytes[at]) {
		case 0xf0:
			lock = true;
			continue;
		case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65:
		case 0x66: case 0x67: case 0xf2: case 0xf3:
			continue;
		}
		break;
	}
	if (lock)
		return true;
	if (at < len && (bytes[at] & 0xf0) == 0x40)
		at++;
	return at + 1 < len && (bytes[at] & 0xfe) == 0x86 && bytes[at + 1] < 0xc0;
}

static void forget(void)
{
	struct block *block;

	for (int i = 0; i < BUCKETS; i++)
		for (block = blocks[i]; block; block = block->next)
			block->times = 0;
}

static void write_counts(void)
{
	const struct block *block;

	fputs("dump\n", out);
	for (int i = 0; i < BUCKETS; i++)
		for (block = blocks[i]; block; block = block->next)
			if (block->times)
				fprintf(out, "%lx %u %lu %u\n",
					block->vaddr, block->insns, block->times,
					block->locked);
	fflush(out);
}

static void on_mark(unsigned int cpu, void *data)
{
	switch ((unsigned long)data) {
	case MARK_RESET:
		forget();
		fputs("reset\n", out);
		break;
	case MARK_BEGIN:
		counting = true;
		batch_locked = 0;
		break;
	case MARK_END:
		counting = false;
		fprintf(out, "batch %lu\n", batch_locked);
		break;
	case MARK_DUMP:
		write_counts();
		break;
	}
}

static void on_block(unsigned int cpu, void *data)
{
	struct block *block = data;

	if (!counting)
		return;
	block->times++;
	batch_locked += block->locked;
}

/* What has been translated anew is the same block if its instructions are as many. */
static struct block *block_of(unsigned long vaddr, unsigned int insns, unsigned int locked)
{
	struct block **head = &blocks[(vaddr ^ vaddr >> 16) % BUCKETS], *block;

	for (block = *head; block; block = block->next)
		if (block->vaddr == vaddr && block->insns == insns)
			return block;
	block = calloc(1, sizeof(*block));
	if (!block)
		abort();
	block->vaddr = vaddr;
	block->insns = insns;
	block->locked = locked;
	block->next = *head;
	*head = block;
	return block;
}

static void on_translation(unsigned long id, struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb);
	unsigned int locked = 0, number;

	for (size_t i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		unsigned char bytes[INSN_MAX];
		size_t len = insn_bytes(insn, bytes);

		locked += insn_locked(bytes, len);
		if (len != sizeof(mark_opcode) + sizeof(number) ||
		    memcmp(bytes, mark_opcode, sizeof(mark_opcode)))
			continue;
		memcpy(&number, bytes + sizeof(mark_opcode), sizeof(number));
		if (number >= MARK_RESET && number <= MARK_DUMP)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
							       QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(unsigned long)number);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
					     block_of(qemu_plugin_tb_vaddr(tb), insns,
						      locked));
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(unsigned long id,
					   const struct qemu_info_t *info,
					   int argc, char **argv)
{
	if (argc != 1 || strncmp(argv[0], "out=", 4)) {
		fprintf(stderr, "profile.so: out=FILE says where to write\n");
		return -1;
	}
	out = fopen(argv[0] + 4, "w");
	if (!out) {
		perror(argv[0] + 4);
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}

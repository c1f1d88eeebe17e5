// SPDX-License-Identifier: GPL-2.0
/*
 * A plug-in of qemu that counts which instructions a guest executes while it measures,
 * and which of them are locked:
 *
 *	qemu-system-x86_64 -plugin profile.so,out=FILE ...
 *
 * The guest says by instructions that do nothing when it measures: those of BENCH_MARK()
 * in xtun_bench.c, "nopl NUMBER(%rax)". RESET forgets, BEGIN and END are before and after
 * what counts, DUMP writes
 *
 *	dump
 *	ADDRESS INSTRUCTIONS TIMES LOCKED
 *
 * with a line for each block of instructions, its address in hexadecimal, how many
 * instructions it has, how often it was entered and how many of them are locked.
 *
 * Debian has no header for plug-ins: what is needed of it is declared here, as in the
 * manual of qemu, "QEMU TCG Plugins".
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC	__attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum qemu_plugin_cb_flags {
	QEMU_PLUGIN_CB_NO_REGS,
};

typedef void (*trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*exec_cb_t)(unsigned int cpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, trans_cb_t cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, exec_cb_t cb,
					  enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_cb_t cb,
					    enum qemu_plugin_cb_flags flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t at);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
#if PLUGIN_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t len);
#endif

PUBLIC int qemu_plugin_version = PLUGIN_API;

/* Numbers of the marks, as in xtun_bench.c. */
enum {
	MARK_RESET = 0x7874756e,
	MARK_BEGIN,
	MARK_END,
	MARK_DUMP,
};

#define INSN_MAX	16
/* "nopl disp32(%rax)" */
static const uint8_t mark_opcode[] = { 0x0f, 0x1f, 0x80 };

struct block {
	struct block *next;
	uint64_t vaddr;
	uint64_t times;
	uint32_t insns;
	uint32_t locked;
};

#define BUCKETS		(1 << 16)

static struct block *blocks[BUCKETS];
static bool counting;
static FILE *out;

static size_t insn_bytes(const struct qemu_plugin_insn *insn, uint8_t *to)
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
static bool insn_locked(const uint8_t *bytes, size_t len)
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

static void dump(void)
{
	const struct block *block;

	fprintf(out, "dump\n");
	for (int i = 0; i < BUCKETS; i++)
		for (block = blocks[i]; block; block = block->next)
			if (block->times)
				fprintf(out, "%" PRIx64 " %" PRIu32 " %" PRIu64 " %" PRIu32 "\n",
					block->vaddr, block->insns, block->times,
					block->locked);
	fflush(out);
}

static void on_mark(unsigned int cpu, void *data)
{
	switch ((uintptr_t)data) {
	case MARK_RESET:	forget(); break;
	case MARK_BEGIN:	counting = true; break;
	case MARK_END:		counting = false; break;
	case MARK_DUMP:		dump(); break;
	}
}

static void on_block(unsigned int cpu, void *data)
{
	struct block *block = data;

	if (counting)
		block->times++;
}

/* What has been translated anew is the same block if its instructions are as many. */
static struct block *block_of(uint64_t vaddr, uint32_t insns, uint32_t locked)
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

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb);
	uint32_t locked = 0, number;

	for (size_t i = 0; i < insns; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t bytes[INSN_MAX];
		size_t len = insn_bytes(insn, bytes);

		locked += insn_locked(bytes, len);
		if (len != sizeof(mark_opcode) + sizeof(number) ||
		    memcmp(bytes, mark_opcode, sizeof(mark_opcode)))
			continue;
		memcpy(&number, bytes + sizeof(mark_opcode), sizeof(number));
		if (number >= MARK_RESET && number <= MARK_DUMP)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark,
							       QEMU_PLUGIN_CB_NO_REGS,
							       (void *)(uintptr_t)number);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS,
					     block_of(qemu_plugin_tb_vaddr(tb), insns,
						      locked));
}

PUBLIC int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
			       char **argv)
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

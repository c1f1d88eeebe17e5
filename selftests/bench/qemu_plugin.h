/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a plug-in of qemu needs of it. Debian has no header for plug-ins: these are the
 * declarations of its manual, "QEMU TCG Plugins", with types that x86-64 passes alike.
 */
#ifndef _XTUN_BENCH_QEMU_PLUGIN_H
#define _XTUN_BENCH_QEMU_PLUGIN_H

#include <stddef.h>

#define QEMU_PLUGIN_EXPORT	__attribute__((visibility("default")))

struct qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

enum qemu_plugin_cb_flags {
	QEMU_PLUGIN_CB_NO_REGS,
};

void qemu_plugin_register_vcpu_tb_trans_cb(unsigned long id,
					   void (*cb)(unsigned long id,
						      struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned int cpu, void *data),
					  enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int cpu, void *data),
					    enum qemu_plugin_cb_flags flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
unsigned long qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t at);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
/* The third version of the interface copies what the others point to. */
#if PLUGIN_API < 3
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
#else
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t len);
#endif

#endif /* _XTUN_BENCH_QEMU_PLUGIN_H */

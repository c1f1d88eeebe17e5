/* SPDX-License-Identifier: GPL-2.0 */
/* Short names that code in the kernel has from its own headers. */
#ifndef XTUN_TOOLS_COMPILER_H
#define XTUN_TOOLS_COMPILER_H

#define __aligned(x)		__attribute((__aligned__(x)))
#define __maybe_unused		__attribute((__unused__))
#define __noreturn		__attribute((__noreturn__))
#define __printf(fmt, args)	__attribute((__format__(printf, fmt, args)))
#define __visible_symbol	__attribute((__visibility__("default")))
#define fallthrough		__attribute((__fallthrough__))

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#endif

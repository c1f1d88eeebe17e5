// SPDX-License-Identifier: GPL-2.0
/*
 * The encapsulations that there are. They register what they are, so that nothing
 * below them has to know them.
 */
#include <linux/bug.h>
#include <linux/in.h>

#include "conf.h"
#include "wire.h"

/* Written while the module is loaded, before anybody can make a tunnel. */
static const struct xtun_encap_ops *xtun_encaps[XTUN_ENCAP_MAX + 1] __ro_after_init;
const struct xtun_wire *xtun_wires[IPPROTO_RAW + 1] __ro_after_init;

static bool xtun_encap_valid(const struct xtun_encap_ops *ops)
{
	const struct xtun_wire *wire = ops->wire;

	return ops->id && ops->id <= XTUN_ENCAP_MAX && ops->name &&
	       ops->prepare && ops->payloads & BIT(ops->payload) &&
	       !ops->key_max == (ops->keying == XTUN_KEY_NONE) &&
	       ops->key_min <= ops->key_max &&
	       wire && wire->id && wire->transport && wire->parse &&
	       (wire->ipproto || wire->ipprotos[0]) &&
	       wire->transport->len < XTUN_ENCAP_HDR_MAX;
}

static int xtun_wire_register(const struct xtun_wire *wire, u8 ipproto)
{
	if (xtun_wires[ipproto] && xtun_wires[ipproto] != wire)
		return -EEXIST;
	xtun_wires[ipproto] = wire;
	return 0;
}

/**
 * xtun_encap_register() - make an encapsulation one that tunnels can have
 * @ops: the encapsulation, for as long as the module is loaded
 *
 * Context: process, while the module is loaded.
 * Return: 0, -EINVAL for one that is not complete, or -EEXIST where another one
 * has its number or the protocol number of its packets.
 */
int xtun_encap_register(const struct xtun_encap_ops *ops)
{
	const struct xtun_wire *wire = ops->wire;
	int i, err = 0;

	if (WARN_ON(!xtun_encap_valid(ops)))
		return -EINVAL;
	if (WARN_ON(xtun_encaps[ops->id]))
		return -EEXIST;
	xtun_encaps[ops->id] = ops;

	/* UDP leads to a form of headers by its ports. */
	if (wire->ipproto && wire->ipproto != IPPROTO_UDP)
		err = xtun_wire_register(wire, wire->ipproto);
	for (i = 0; !err && i < ARRAY_SIZE(wire->ipprotos) &&
	     wire->ipprotos[i]; i++)
		err = xtun_wire_register(wire, wire->ipprotos[i]);
	return err;
}

/**
 * xtun_encap_find() - find an encapsulation
 * @id: enum xtun_encap
 *
 * Context: any.
 * Return: its operations, or NULL.
 */
const struct xtun_encap_ops *xtun_encap_find(unsigned int id)
{
	return id <= XTUN_ENCAP_MAX ? xtun_encaps[id] : NULL;
}

/**
 * xtun_words_find() - the word of an attribute among those of an encapsulation
 * @words: those, or NULL
 * @attr: enum xtun_a_conf
 *
 * Context: any.
 * Return: the word, or NULL for an attribute that is none of them.
 */
const char *xtun_words_find(const struct xtun_words *words, unsigned int attr)
{
	int i;

	for (i = 0; words && i < XTUN_WORDS_MAX; i++) {
		if (words->words[i].attr == attr)
			return words->words[i].word;
	}
	return NULL;
}

/**
 * xtun_encap_word() - the word of an attribute that only some encapsulations have
 * @attr: enum xtun_a_conf
 *
 * Context: any.
 * Return: the word, or NULL for an attribute that all have, or none.
 */
const char *xtun_encap_word(unsigned int attr)
{
	const char *word = NULL;
	unsigned int id;

	for (id = 0; id <= XTUN_ENCAP_MAX && !word; id++) {
		if (xtun_encaps[id])
			word = xtun_words_find(xtun_encaps[id]->words, attr);
	}
	return word;
}

# SPDX-License-Identifier: GPL-2.0
#
## make                  build the module for the running kernel, and the tools
## make KDIR=FOLDER      build it for the kernel whose headers are there
## make modules, tools   only the one or the other
## make install          install both (DESTDIR, PREFIX)
## make dkms             have DKMS build the module for every kernel, now and later
## make uninstall        remove what these two have installed, for every kernel
## make demo             see it work, in a virtual machine
## make test             all tests, in virtual machines with kernels 6.1, 6.12 and 7.3
##      T="wire vxlan"   only these tests
##      K=6.12           only this kernel; K=debug is the one of make test-debug
##      J=1              one machine at a time; without it three for two processors
##      SEED=5           what tests choose by chance, they choose by this number
##      V=1              show every subtest
## make test-debug       all tests on a kernel with KASAN, lockdep and kmemleak
## make bench            count what tunnels cost, beside the in-tree drivers
##      K=6.12           only on this kernel; without it on 6.1 and 6.12
##      QUICK=1          with fewer tunnels and flows, and less of TCP
##      PROFILE=1        only what is needed to tell the functions that it is spent in
##      ROWS="gre,4in4"  only these encapsulations
##      UPDATE=1         write the figures down, to compare the next ones with
## make shell K=6.1      a shell in such a machine, with the module built for it
## make lint             check the sources
## make clean            remove what was built
## make help             this list
#
# Only install, uninstall and dkms touch this machine's kernel and its tools.
# demo, test, test-debug, bench, shell and lint install the Debian packages they lack.

VERSION := 0.1
KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
K ?=
T ?=
J ?=
SEED ?=
V ?=
QUICK ?=
PROFILE ?=
ROWS ?=
UPDATE ?=

# A root that su has made may not have these, and depmod and dkms are there.
export PATH := $(PATH):/usr/sbin:/sbin

TOOLS = $(MAKE) -C tools O=$(CURDIR)/build/tools VERSION=$(VERSION) PREFIX=$(PREFIX)
MODULE = $(MAKE) -C $(KDIR) M=$(CURDIR)/kmod
VM := selftests/vm
TEST_OPTIONS = $(addprefix -T ,$(T)) $(addprefix -j ,$(J)) $(addprefix -s ,$(SEED)) $(if $(V),-v)

all: modules tools

modules: have-headers
	$(MODULE) modules

have-headers:
	@test -e $(KDIR)/Makefile && test -e $(KDIR)/$(UTSRELEASE) || { \
		echo "No kernel headers in $(KDIR)."; \
		echo "Install those of your kernel (Debian: linux-headers-$$(uname -r))"; \
		echo "or name a folder that has some: make KDIR=FOLDER"; \
		exit 1; } >&2

tools:
	$(TOOLS) all

# Headers as distributions ship them ask for a signature without having a key.
# depmod is for the machine that the module will run on: with DESTDIR that is
# another one.
UNSIGNED = $(if $(wildcard $(KDIR)/certs/signing_key.pem),,CONFIG_MODULE_SIG_ALL=)

install: modules tools
	$(MODULE) KERNELRELEASE=$(release) INSTALL_MOD_PATH=$(DESTDIR) \
		INSTALL_MOD_DIR=extra INSTALL_MOD_STRIP=1 $(UNSIGNED) modules_install
	$(if $(DESTDIR),,depmod $(release))
	$(TOOLS) install

# What the kernel calls itself. With Debian's headers of 6.1, "make kernelrelease" and
# include/config/kernel.release give another name.
UTSRELEASE := include/generated/utsrelease.h
release = $(shell sed -n 's/^.define UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/$(UTSRELEASE))

# It looks for what was installed, and so needs no headers. DKMS goes first: it puts
# back what it found in "extra" when it came.
uninstall:
	$(if $(DESTDIR),,scripts/dkms.sh remove)
	@for folder in $(DESTDIR)/lib/modules/*/extra; do \
		ls "$$folder"/xtun.ko* >/dev/null 2>&1 || continue; \
		echo "removing the module from $$folder"; \
		$(RM) "$$folder"/xtun.ko* && \
		rmdir --ignore-fail-on-non-empty "$$folder" || exit 1; \
		tree=$${folder%/extra}; \
		test -n "$(DESTDIR)" || depmod "$${tree##*/}" || exit 1; \
	done
	$(TOOLS) uninstall

dkms: have-headers
	scripts/dkms.sh install $(VERSION) $(release)

demo:
	$(VM)/build.sh 6.1
	$(VM)/vm.sh -K 6.1 -c selftests/demo.sh

test:
	@$(VM)/run-tests.sh $(addprefix -K ,$(K)) $(TEST_OPTIONS)

# With a time limit of its own: two hours, as make test has, may be too little.
test-debug:
	@$(VM)/run-tests.sh -K debug -t 14400 $(TEST_OPTIONS)

bench:
	@selftests/bench/run.sh $(addprefix -K ,$(K)) $(if $(QUICK),-q) $(if $(PROFILE),-p) \
		$(if $(UPDATE),-u) $(if $(ROWS),-r "$(ROWS)")

shell:
	@$(VM)/build.sh $(or $(K),6.1)
	@$(VM)/vm.sh -K $(or $(K),6.1) --shell

lint:
	@scripts/lint.sh

clean:
	$(RM) -r build
	find kmod \( -name '*.o' -o -name '*.ko' -o -name '*.mod' -o -name '*.mod.c' \
		-o -name '.*.cmd' -o -name '*.symvers' -o -name modules.order \) -delete

help:
	@sed -n 's/^## //p' Makefile

.PHONY: all modules have-headers tools install uninstall dkms demo test \
	test-debug bench shell lint clean help

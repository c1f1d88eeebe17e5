# SPDX-License-Identifier: GPL-2.0
#
## make                  build the module for the running kernel, and the tools
## make KDIR=FOLDER      build it for the kernel whose headers are there
## make modules, tools   only the one or the other
## make install          install both (DESTDIR, PREFIX), and make uninstall
## make dkms             have DKMS build the module for every kernel, now and later
## make demo             see it work, in a virtual machine
## make test             all tests, in virtual machines with kernels 6.1, 6.12 and 7.3
##      T="wire vxlan"   only these tests
##      K=6.12           only this kernel; K=debug is the one of make test-debug
##      J=1              one machine at a time; without it three for two processors
##      SEED=5           what tests choose by chance, they choose by this number
##      V=1              show every subtest
## make test-debug       all tests on a kernel with KASAN, lockdep and kmemleak
## make shell K=6.1      a shell in such a machine, with the module built for it
## make lint             check the sources
## make clean            remove what was built
## make help             this list
#
# Only install, uninstall and dkms touch this machine's kernel and its tools.
# demo, test, test-debug, shell and lint install the Debian packages they lack.

VERSION := 0.1
KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr/local
K ?=
T ?=
J ?=
SEED ?=
V ?=

TOOLS = $(MAKE) -C tools O=$(CURDIR)/build/tools VERSION=$(VERSION) PREFIX=$(PREFIX)
MODULE = $(MAKE) -C $(KDIR) M=$(CURDIR)/kmod
VM := selftests/vm
TEST_OPTIONS = $(addprefix -T ,$(T)) $(addprefix -j ,$(J)) $(addprefix -s ,$(SEED)) $(if $(V),-v)

all: modules tools

modules: have-headers
	$(MODULE) modules

have-headers:
	@test -e $(KDIR)/Makefile || { \
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
	$(MODULE) INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=extra $(UNSIGNED) \
		modules_install
	$(if $(DESTDIR),,depmod $(release))
	$(TOOLS) install

uninstall: have-headers
	$(RM) $(DESTDIR)/lib/modules/$(release)/extra/xtun.ko*
	$(if $(DESTDIR),,depmod $(release))
	$(TOOLS) uninstall

release = $(shell $(MAKE) -s -C $(KDIR) kernelrelease)

# DKMS builds from its own copy of the sources.
DKMS_SOURCE = /usr/src/xtun-$(VERSION)

dkms:
	@command -v dkms >/dev/null || { \
		echo "There is no dkms here. Debian: apt install dkms" >&2; exit 1; }
	install -d $(DKMS_SOURCE)
	cp -r kmod uapi COPYING $(DKMS_SOURCE)/
	sed 's/#MODULE_VERSION#/$(VERSION)/' dkms.conf >$(DKMS_SOURCE)/dkms.conf
	if dkms status xtun/$(VERSION) | grep -q .; then \
		dkms remove -m xtun -v $(VERSION) --all; fi
	dkms add -m xtun -v $(VERSION)
	dkms build -m xtun -v $(VERSION)
	dkms install -m xtun -v $(VERSION)

demo:
	$(VM)/build.sh 6.1
	$(VM)/vm.sh -K 6.1 -c selftests/demo.sh

test:
	@$(VM)/run-tests.sh $(addprefix -K ,$(K)) $(TEST_OPTIONS)

# With a time limit of its own: two hours, as make test has, may be too little.
test-debug:
	@$(VM)/run-tests.sh -K debug -t 14400 $(TEST_OPTIONS)

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
	test-debug shell lint clean help

# capi: PGXS build.  "make && make install PG_CONFIG=..." is all a packager
# needs, here or from another folder (VPATH=this one); "make demo" and
# "make test", only here, set up everything else by themselves.

TREE      := $(or $(VPATH),.)
ELSEWHERE := $(filter-out $(abspath $(TREE)),$(CURDIR))
EXTENSION  = capi
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" $(TREE)/capi.control)
MODULE_big = capi

OBJS = $(patsubst %,src/%.o, \
	$(addprefix answer/,response response_json response_mask response_words) \
	$(addprefix base/,attempt backoff block database_settings dispatcher_wake encoding entry extension \
		guc here holders key lock missed nearest pinned sender_lock shmem slot test_point txn wake) \
	$(addprefix call/,backfill check check_audience look normalize_sql pixel preview \
		probe quality query_text reconcile send status trial) \
	$(addprefix capture/,capture moved plain renumber rule) \
	$(addprefix event/,browser complete contents country country_text \
		currency customer date \
		decimal email entity event field hash list member none normalize number \
		payload person phone phone_list phone_mend place text validate) \
	$(addprefix process/,database_hook deliver event_trigger init launcher reader worker) \
	$(addprefix read/,caller needed orders people pool portion query reader_lock \
		row run) \
	$(addprefix send/,answer audiences backlog batch clock dataset dispatch environment \
		evaluate health in_flight intake meta portion_end portions record remains role_rest \
		share suspect transfer_curl transport_curl) \
	$(addprefix store/,append audience bucket config context delivery direct due event_name \
		item known ledger outcome queue reference secret segment soon tally unread xidset))

# What CREATE EXTENSION runs is put together from these, in this order.
SQL_PARTS  = $(patsubst %,sql/capi/%.sql, head references tables internal lookups \
	datasets advice sources suggest context send doing clock logs meta subscriptions states views story \
	findings reconcile repair audiences report privileges comments)

# Earlier versions stay as they were, so that an upgrade can be tried.
DATA       = sql/capi--0.1.0.sql
UPGRADE    = sql/capi--0.1.0--$(EXTVERSION).sql
DATA_built = sql/capi--$(EXTVERSION).sql $(UPGRADE)
# By hand is written what cannot be replaced; of tables.sql its functions are taken.
UPGRADE_PARTS = sql/upgrade/head.sql sql/capi/references.sql sql/capi/tables.sql \
	sql/upgrade/0.1.0.sql \
	$(filter-out %/head.sql %/references.sql %/tables.sql %/comments.sql,$(SQL_PARTS)) \
	sql/upgrade/copy.sql sql/capi/comments.sql sql/upgrade/tail.sql

# PGXS knows no folders in DOCS, and README.md is everybody's name: what is
# installed keeps its places, below a folder of its own.
DOCS       = README.md CHANGELOG.md LICENSE
DOC_TREE   = $(shell cd $(TREE) && echo doc/*.md && find examples -type f)
override docmoduledir = extension/capi

# In the order they run; a test's name is used once over all kinds, and never
# that of a file in sql/ (the driver would run that one instead).
REGRESS   = datasets dataset_errors sources source_errors advice capture capture_faults \
	migrations privileges default_privileges secret_endpoint publication query_settings send_limits \
	context_limits context_tenants moves views \
	reconcile repair report audience_errors \
	old_version
ISOLATION = late_commit rotation dump attach change_source locked_segment \
	foreign_lock serializable reconcile_snapshot open_admin send_beside context_beside
# expected/ is found from the top, inputs below test/.
REGRESS_OPTS   = --inputdir=$(TREE)/test
ISOLATION_OPTS = --inputdir=$(TREE)/test/isolation --load-extension=capi
REGRESS_PREP   = $(addsuffix /expected,$(ELSEWHERE))

# The server's headers count as the system's, which have no warnings; callbacks
# and PG_FUNCTION_ARGS leave parameters unused, and that alone is let off.
# A warning is an error where we look at it (WERROR=-Werror), as "make test"
# does, and not for who packages with a compiler that nobody had tried.
WERROR      ?=
LIB_CFLAGS  := $(shell pkg-config --cflags libcurl libcrypto 2>/dev/null)
LIB_LINK    := $(shell pkg-config --libs libcurl libcrypto 2>/dev/null || echo -lcurl -lcrypto) \
	-lunistring
PG_CPPFLAGS  = -I$(srcdir)/src -isystem $(includedir_server) \
	-DCAPI_VERSION='"$(EXTVERSION)"' $(LIB_CFLAGS)
PG_CFLAGS    = -Wall -Wextra -Wno-unused-parameter $(WERROR) -MMD -MP $(NOT_CLANGS)
# The server's flags are those of the compiler that it was built with.
NOT_CLANGS   = $(if $(findstring clang,$(shell $(CC) --version)), \
	-Wno-unknown-warning-option -Wno-ignored-optimization-argument)
SHLIB_LINK   = $(LIB_LINK)
EXTRA_CLEAN  = src/*/*.d tmp_check bench/sink \
	$(basename $(wildcard test/unit/test_*.c test/fuzz/fuzz_*.c)) test/fuzz/*.so

# A server built with LLVM asks for bitcode, and so for its exact clang.  The
# gain, inlining into compiled queries, is none for functions like ours.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

# Without server headers, as on a new machine, only "deps" and what begins
# with it can run; they call make again, which then finds the headers.
ifneq ($(wildcard $(PGXS)),)
include $(PGXS)
-include $(wildcard src/*/*.d)

# Make would take what was built there for what is to be built here.
ifneq ($(and $(ELSEWHERE),$(wildcard $(addprefix $(TREE)/,capi.so $(DATA_built)))),)
$(error "$(TREE)" has been built in; "make clean" there first)
endif

# Absolute, because a folder is found below VPATH too.
FOLDERS := $(addprefix $(CURDIR)/,$(sort $(dir $(OBJS) $(DATA_built))))
$(FOLDERS):
	mkdir -p $@

$(OBJS): capi.control | $(FOLDERS)

sql/capi--$(EXTVERSION).sql: $(SQL_PARTS) capi.control | $(FOLDERS)
	awk 'FNR == 1 && NR > 1 { print "" } { print }' $(addprefix $(TREE)/,$(SQL_PARTS)) > $@

$(UPGRADE): sql/upgrade/replace.awk $(UPGRADE_PARTS) | $(FOLDERS)
	awk -f $(addprefix $(TREE)/,sql/upgrade/replace.awk $(UPGRADE_PARTS)) > $@

$(CURDIR)/expected:
	ln -s '$(abspath $(TREE))/expected' $@

install: install-doc-tree
install-doc-tree: installdirs
	@cd '$(DESTDIR)$(docdir)/$(docmoduledir)' && $(MKDIR_P) $(sort $(dir $(DOC_TREE)))
	@set -e; for file in $(DOC_TREE); do \
		if test -x $(srcdir)/$$file; then install='$(INSTALL_SCRIPT)'; else install='$(INSTALL_DATA)'; fi; \
		$$install $(srcdir)/$$file '$(DESTDIR)$(docdir)/$(docmoduledir)'/$$file; \
	done

uninstall: uninstall-doc-tree
uninstall-doc-tree:
	rm -rf '$(DESTDIR)$(docdir)/$(docmoduledir)'
else
all install installcheck clean:
	@echo "no server headers at '$(PG_CONFIG)': run \"make deps\" or set PG_CONFIG" >&2; exit 1
endif

# Installs what ci/packages.txt lists and this machine lacks.
deps:
	@PG_CONFIG='$(PG_CONFIG)' ci/install-packages

# All work on a private copy of the server below a temporary folder.
demo:
	@PG_CONFIG='$(PG_CONFIG)' ci/install-packages build server demo
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@PG_CONFIG='$(PG_CONFIG)' KEEP='$(KEEP)' test/demo/run

# "make test TESTS='regress t/010_delivery'" runs some of them.
test: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all WERROR=-Werror
	@PG_CONFIG='$(PG_CONFIG)' test/run $(TESTS)

# The server-side code with UBSan; "make test" runs a part of it.
check-sanitize: all
	@PG_CONFIG='$(PG_CONFIG)' test/sanitize $(TESTS)

# A shop sells while everything around it goes wrong: "make soak SECONDS=3600 SEED=7".
SECONDS ?= 600
soak: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@PG_CONFIG='$(PG_CONFIG)' CAPI_SOAK_SECONDS='$(SECONDS)' CAPI_SOAK_SEED='$(SEED)' \
		ITEM_TIMEOUT=$$(($(SECONDS) + 900)) test/run 059_soak

# The sources as they are here, without what is built: "make dist DIST=/tmp/capi.tar.gz".
DIST ?= capi-$(EXTVERSION).tar.gz
dist:
	@ci/list-files | tar --null -T - --owner=0 --group=0 --numeric-owner \
		--transform='s|^\(\./\)\?|capi-$(EXTVERSION)/|' -czf '$(DIST)'

check-style: all
	@PG_CONFIG='$(PG_CONFIG)' test/run guard

bench:
	@PG_CONFIG='$(PG_CONFIG)' ci/install-packages build server demo bench
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@PG_CONFIG='$(PG_CONFIG)' $(MAKE) --no-print-directory -C bench bench

.PHONY: bench check-sanitize check-style demo deps dist install-doc-tree soak test \
	uninstall-doc-tree
.DEFAULT_GOAL := all

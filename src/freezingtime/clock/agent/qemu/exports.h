/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the agent uses of QEMU: functions that a stock binary exports for its modules.
 *
 * Declared weak, so that the agent can name the missing one and refuse, and so that a child
 * process that inherits the preload is left alone. Their signatures have been the same since QEMU
 * 7.2 at least. Functions that have had several names are in files of their own (lock.c,
 * round_robin.c). "BQL" is QEMU's big lock.
 */
#ifndef FREEZINGTIME_QEMU_EXPORTS_H
#define FREEZINGTIME_QEMU_EXPORTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define QEMU_CLOCK_VIRTUAL 1 /* QEMUClockType */
#define QEMU_TIMER_NS 1      /* SCALE_NS */
#define QEMU_TIMER_ALL (~0)
#define QEMU_TIMER_INTERNAL (~1) /* every timer but QEMU_TIMER_ATTR_EXTERNAL */

/* MachineInitPhase: all devices are there. In some QEMUs it is complete as well; in the others
 * that follows before the main loop begins. */
#define QEMU_PHASE_MACHINE_BUILT 4

#define WEAK __attribute__((weak))

typedef struct AioContext AioContext;
typedef struct BlockDriverState BlockDriverState;
typedef struct Coroutine Coroutine;
typedef struct CPUState CPUState;
typedef struct QemuMutex QemuMutex;
typedef struct QEMUIOVector { /* its head */
    struct iovec *iov;
    int niov;
} QEMUIOVector;
union run_on_cpu_data {
    void *pointer;
    uint64_t address;
};
typedef void qemu_work_fn(CPUState *cpu, union run_on_cpu_data data);
typedef bool qemu_is_wanted_fn(const void *entry, const void *wanted);
typedef void qemu_timer_cb(void *opaque);
typedef void qemu_notify_cb(void *opaque, int clock);
typedef void qemu_lock_fn(QemuMutex *mutex, const char *file, int line);
typedef void qemu_vm_change_cb(void *opaque, bool running, int state);

/* Guest time and timers. Any thread; timer callbacks run with the BQL held. */
WEAK int64_t icount_get(void);
WEAK int64_t icount_get_raw(void);
WEAK void icount_update(CPUState *cpu); /* count what it has executed so far */
WEAK int64_t qemu_clock_deadline_ns_all(int type, int attr_mask);
WEAK bool qemu_clock_run_timers(int type); /* of the main loop's list */
WEAK void timer_init_full(void *timer, void *group, int type, int scale, int attributes,
                          qemu_timer_cb *cb, void *opaque);
WEAK void timer_mod_ns(void *timer, int64_t expire_ns);
WEAK void timer_del(void *timer);
WEAK void *timerlist_new(int clock, qemu_notify_cb *cb, void *opaque);
WEAK bool qemu_clock_run_all_timers(void);
WEAK int64_t timerlist_deadline_ns(void *list);
WEAK int64_t timerlistgroup_deadline_ns(void *group);
WEAK qemu_notify_cb qemu_timer_notify_cb;
WEAK extern int use_icount; /* 0 off, 1 precise, 2 adaptive */

/* The main loop's context. BQL held. */
WEAK AioContext *qemu_get_aio_context(void);
WEAK bool aio_poll(AioContext *context, bool blocking);

/* Coroutines. BQL held. */
WEAK Coroutine *qemu_coroutine_self(void);
WEAK void qemu_coroutine_yield(void);
WEAK void aio_co_wake(Coroutine *coroutine);
WEAK void aio_co_schedule(AioContext *context, Coroutine *coroutine);

/* Block devices. BQL held. */
WEAK void *bdrv_find_format(const char *name);
WEAK const char *bdrv_get_node_name(const BlockDriverState *bs);
WEAK int nbd_errno_to_system_errno(int error);

/* The machine. */
WEAK bool phase_check(int phase);
WEAK bool runstate_is_running(void);
WEAK void *qemu_add_vm_change_state_handler(qemu_vm_change_cb *cb, void *opaque);
WEAK int vm_stop(int run_state);
WEAK int qapi_enum_parse(const void *lookup, const char *name, int fallback, void *errp);
WEAK extern const char RunState_lookup[]; /* opaque: a QEnumLookup */

/* Threads and CPUs. */
WEAK bool qemu_in_vcpu_thread(void);
WEAK qemu_lock_fn qemu_mutex_lock_impl;
WEAK qemu_lock_fn qemu_mutex_unlock_impl;
WEAK CPUState *qemu_get_cpu(int index);
WEAK void async_run_on_cpu(CPUState *cpu, qemu_work_fn *function, union run_on_cpu_data data);
WEAK bool cpu_is_stopped(CPUState *cpu);
WEAK bool cpu_thread_is_idle(CPUState *cpu);
WEAK void process_queued_cpu_work(CPUState *cpu);
WEAK void qemu_cpu_kick(CPUState *cpu);
WEAK void qemu_notify_event(void); /* wakes the main loop */
WEAK void *get_ptr_rcu_reader(void);
WEAK void rcu_remove_force_rcu_notifier(void *notifier);

/* The accelerator's table of functions (AccelOpsClass). */
WEAK const void *cpus_get_accel(void);

/* Commands, and the JSON that they and their answers are. BQL held. May be missing. */
struct qemu_text { /* the head of a GString */
    const char *text;
};
WEAK extern const char qmp_commands[]; /* opaque: a QmpCommandList */
WEAK void *qmp_dispatch(const void *commands, void *request, bool allow_oob, void *monitor);
WEAK void *qobject_from_json(const char *text, void *errp);
WEAK const struct qemu_text *qobject_to_json(const void *object);

/* Returns when what has been deferred until no thread reads is done, such as freeing what is
 * unplugged. Lets go of the BQL meanwhile; not for a thread that reads. May be missing. */
WEAK void drain_call_rcu(void);

/* A hash table, and what QEMU does with the one of translated blocks. May be missing. */
WEAK void *qht_lookup_custom(const void *table, const void *wanted, uint32_t hash,
                             qemu_is_wanted_fn *is_wanted);
WEAK bool qht_reset_size(void *table, size_t count);

/* KVM, where QEMU is built with it. */
WEAK void kvm_cpu_synchronize_post_reset(CPUState *cpu);
WEAK int kvm_arch_process_async_events(CPUState *cpu);
WEAK void do_cpu_sipi(void *x86_cpu);
WEAK void cpu_reset_interrupt(CPUState *cpu, int mask);
WEAK void *apic_get_class(void *errp);
WEAK void kvmclock_create(bool always);
WEAK void *object_class_by_name(const char *name);

/* Ends QEMU with a line that names the first of these that is missing: of what TCG with counted
 * instructions takes, or of what KVM does. Before QEMU's main. */
void ft_exports_require(bool for_kvm);

#endif

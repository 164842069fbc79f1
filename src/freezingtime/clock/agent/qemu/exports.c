/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/exports.h"

#include <stddef.h>
#include <string.h>

#include "ours/base.h"

/* Where the compiler guards indirect calls by their type (clang's control-flow integrity), a
 * function's address is that of a jump to it in a table, padded with traps. */
static bool is_guarded(const void *function)
{
    static const unsigned char landing[] = {0xf3, 0x0f, 0x1e, 0xfa}; /* endbr64 */
    static const unsigned char padding[] = {0xcc, 0xcc, 0xcc};
    const unsigned char *code = function;
    if (memcmp(code, landing, sizeof landing) == 0) {
        code += sizeof landing;
    }
    return code[0] == 0xe9 && memcmp(code + 5, padding, sizeof padding) == 0;
}

void ft_exports_require(bool for_kvm)
{
    enum { BOTH, TCG, KVM };
    const struct {
        const char *name;
        const void *address;
        int user;
    } needed[] = {
#define NEED_FOR(user, symbol) {#symbol, (const void *)&(symbol), user}
#define NEED(symbol) NEED_FOR(BOTH, symbol)
        NEED_FOR(TCG, icount_get),
        NEED_FOR(TCG, icount_get_raw),
        NEED_FOR(TCG, icount_update),
        NEED_FOR(KVM, qemu_clock_run_all_timers),
        NEED_FOR(KVM, timerlist_deadline_ns),
        NEED_FOR(KVM, timerlistgroup_deadline_ns),
        NEED_FOR(KVM, qemu_timer_notify_cb),
        NEED_FOR(KVM, qemu_cpu_kick),
        NEED_FOR(KVM, qemu_notify_event),
        NEED_FOR(KVM, kvm_cpu_synchronize_post_reset),
        NEED_FOR(KVM, kvm_arch_process_async_events),
        NEED_FOR(KVM, do_cpu_sipi),
        NEED_FOR(KVM, cpu_reset_interrupt),
        NEED_FOR(KVM, apic_get_class),
        NEED_FOR(KVM, kvmclock_create),
        NEED_FOR(KVM, object_class_by_name),
        NEED(qemu_clock_deadline_ns_all),
        NEED(qemu_clock_run_timers),
        NEED(timer_init_full),
        NEED(timer_mod_ns),
        NEED(timer_del),
        NEED(timerlist_new),
        NEED_FOR(TCG, use_icount),
        NEED(qemu_get_aio_context),
        NEED(aio_poll),
        NEED(qemu_coroutine_self),
        NEED(qemu_coroutine_yield),
        NEED(aio_co_wake),
        NEED(aio_co_schedule),
        NEED(bdrv_find_format),
        NEED(bdrv_get_node_name),
        NEED(nbd_errno_to_system_errno),
        NEED(phase_check),
        NEED(runstate_is_running),
        NEED(qemu_add_vm_change_state_handler),
        NEED(vm_stop),
        NEED(qapi_enum_parse),
        NEED(RunState_lookup),
        NEED(qemu_in_vcpu_thread),
        NEED(qemu_mutex_lock_impl),
        NEED(qemu_mutex_unlock_impl),
        NEED(qemu_get_cpu),
        NEED(async_run_on_cpu),
        NEED(cpu_is_stopped),
        NEED(cpu_thread_is_idle),
        NEED(process_queued_cpu_work),
        NEED(get_ptr_rcu_reader),
        NEED(rcu_remove_force_rcu_notifier),
        NEED(cpus_get_accel),
#undef NEED
#undef NEED_FOR
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (!needed[i].address && needed[i].user != (for_kvm ? TCG : KVM)) {
            ft_die(FT_EXIT_REFUSED,
                   "this QEMU does not export %s, as one that is built with modules does; " FT_CURE,
                   needed[i].name);
        }
    }
    if (is_guarded((const void *)&qemu_clock_deadline_ns_all)) {
        ft_die(FT_EXIT_REFUSED, "this QEMU is built with control-flow integrity (CFI), which lets "
                                "nobody replace a function; " FT_CURE);
    }
}

/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The vCPU thread writes, others read: one number each, so no lock is needed.
 */
#include "ours/kvm/guest_time.h"

#include <stdatomic.h>

static _Atomic uint64_t reached_tsc;
static _Atomic int64_t warped_ns;

void ft_guest_time_start(int64_t start_ns)
{
    atomic_store(&reached_tsc, (uint64_t)ft_guest_time_counter_at(start_ns));
}

uint64_t ft_guest_time_tsc(void)
{
    return atomic_load_explicit(&reached_tsc, memory_order_acquire);
}

int64_t ft_guest_time_now_ns(void)
{
    return ft_guest_time_ns_of((int64_t)ft_guest_time_tsc());
}

int64_t ft_guest_time_warped_ns(void)
{
    return atomic_load_explicit(&warped_ns, memory_order_relaxed);
}

void ft_guest_time_reach(uint64_t tsc)
{
    if ((int64_t)(tsc - ft_guest_time_tsc()) > 0) {
        atomic_store_explicit(&reached_tsc, tsc, memory_order_release);
    }
}

void ft_guest_time_reach_ns(int64_t now_ns)
{
    ft_guest_time_reach((uint64_t)ft_guest_time_cycles_of(now_ns));
}

void ft_guest_time_warp(int64_t idle_ns)
{
    atomic_fetch_add_explicit(&warped_ns, idle_ns, memory_order_relaxed);
    ft_guest_time_reach_ns(ft_guest_time_now_ns() + idle_ns);
}

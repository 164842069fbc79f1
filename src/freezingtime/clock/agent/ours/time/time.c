/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time.
 *
 *   now = base + executed instructions since base / CPUs at once / rate
 *       + idle time skipped since base
 *
 * QEMU's own icount clock ties one instruction to a power of two of nanoseconds, and lets the main
 * thread skip idle time, two thread switches away. Here any rate will do, and the vCPU thread
 * skips.
 *
 * The vCPU thread changes what counts (or another one while it is stopped, always with the BQL),
 * any thread reads: a sequence lock has each reader see one state as a whole.
 */
#include "ours/time/time.h"

#include <stdatomic.h>
#include <stdbool.h>

#include "qemu/exports.h"

#define NS_PER_S UINT64_C(1000000000)

struct state {
    int64_t base_ns;
    int64_t base_instructions;
    uint64_t rate_hz;
    uint64_t at_once; /* CPUs */
    bool has_run;
};

/* Odd: being written. The fields are atomic since a reader may look while they are. */
static atomic_uint sequence;
static struct {
    _Atomic int64_t base_ns;
    _Atomic int64_t base_instructions;
    _Atomic uint64_t rate_hz;
    _Atomic uint64_t at_once;
    _Atomic bool has_run;
} shared = {.rate_hz = NS_PER_S, .at_once = 1};

static _Atomic int64_t skipped_ns;

#define LOAD(field) atomic_load_explicit(&shared.field, memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&shared.field, value, memory_order_relaxed)

static struct state load(void)
{
    return (struct state){
        .base_ns = LOAD(base_ns),
        .base_instructions = LOAD(base_instructions),
        .rate_hz = LOAD(rate_hz),
        .at_once = LOAD(at_once),
        .has_run = LOAD(has_run),
    };
}

static void store(struct state state)
{
    atomic_fetch_add_explicit(&sequence, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    STORE(base_ns, state.base_ns);
    STORE(base_instructions, state.base_instructions);
    STORE(rate_hz, state.rate_hz);
    STORE(at_once, state.at_once);
    STORE(has_run, state.has_run);
    atomic_fetch_add_explicit(&sequence, 1, memory_order_release);
}

/* Split, so that 64 bits hold every product for rates up to 16 GHz. */
static int64_t instructions_to_ns(uint64_t instructions, uint64_t rate_hz)
{
    return (int64_t)(instructions / rate_hz * NS_PER_S +
                     instructions % rate_hz * NS_PER_S / rate_hz);
}

static int64_t ns_to_instructions(int64_t duration_ns, uint64_t rate_hz)
{
    uint64_t seconds = (uint64_t)duration_ns / NS_PER_S;
    uint64_t rest_ns = (uint64_t)duration_ns % NS_PER_S;
    return (int64_t)(seconds * rate_hz + (rest_ns * rate_hz + NS_PER_S - 1) / NS_PER_S);
}

/* CPUs that execute at once do so in turn: each of them has had its share of what was executed. */
static int64_t executed_ns(const struct state *state, int64_t executed)
{
    return instructions_to_ns((uint64_t)executed / state->at_once, state->rate_hz);
}

int64_t ft_time_skipped_ns(void)
{
    return atomic_load_explicit(&skipped_ns, memory_order_relaxed);
}

int64_t ft_time_now_ns(void)
{
    for (;;) {
        unsigned before = atomic_load_explicit(&sequence, memory_order_acquire);
        struct state state = load();
        /* Until it runs, devices that are restored from a snapshot must see its time. */
        int64_t now_ns = state.base_ns;
        if (state.has_run) {
            int64_t executed = icount_get_raw() - state.base_instructions;
            now_ns += executed_ns(&state, executed) + ft_time_skipped_ns();
        }
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&sequence, memory_order_relaxed) == before) {
            return now_ns;
        }
    }
}

int64_t ft_time_instructions(int64_t duration_ns)
{
    return ns_to_instructions(duration_ns, LOAD(rate_hz));
}

int64_t ft_time_budget(int64_t duration_ns)
{
    struct state state = load();
    int64_t executed = icount_get_raw() - state.base_instructions;
    int64_t end_ns = executed_ns(&state, executed) + duration_ns;
    int64_t budget = ns_to_instructions(end_ns, state.rate_hz) * (int64_t)state.at_once - executed;
    return budget > 0 ? budget : 0;
}

void ft_time_skip(int64_t idle_ns)
{
    atomic_fetch_add_explicit(&skipped_ns, idle_ns, memory_order_relaxed);
}

void ft_time_start(int64_t start_ns, uint64_t rate_hz)
{
    struct state state = load();
    state.base_ns = start_ns;
    state.rate_hz = rate_hz;
    store(state);
}

void ft_time_machine_runs(void)
{
    struct state state = load();
    if (!state.has_run) {
        state.base_instructions = icount_get_raw();
        state.has_run = true;
        store(state);
    }
}

/* The state in which what counts from this very instruction on can be set. */
static struct state begin_anew(void)
{
    struct state state = load();
    state.base_ns = ft_time_now_ns() - ft_time_skipped_ns();
    state.base_instructions = icount_get_raw();
    return state;
}

void ft_time_set_rate(uint64_t rate_hz)
{
    struct state state = begin_anew();
    state.rate_hz = rate_hz;
    store(state);
}

void ft_time_set_cpus_at_once(int count)
{
    if (LOAD(at_once) != (uint64_t)count) {
        struct state state = begin_anew();
        state.at_once = (uint64_t)count;
        store(state);
    }
}

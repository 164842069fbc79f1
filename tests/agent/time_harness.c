/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest time while it is set and read at the same time, for tests/agent/test_agent_time.py. Argument: how
 * many times the number of CPUs and the rate are set. Two ways:
 *   within   what counts changes in the middle of each reading, and instructions are executed
 *   threads  one thread sets, another reads, for a sanitizer to look at
 * Output: the least by which the clock went on from one reading to the next, in ns, and the last.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ours/time/time.h"
#include "qemu/exports.h"

static _Atomic int64_t executed;
static atomic_bool done;

static bool change_within; /* the next reading */

static void change(long i)
{
    ft_time_set_cpus_at_once(1 + (int)(i % 7));
    ft_time_set_rate(i % 2 ? 1000000000 : 4000000000);
}

/* QEMU's counter: where a reader has seen what counts, and not yet made a time of it. */
int64_t icount_get_raw(void)
{
    static long changes;
    if (change_within) {
        change_within = false;
        change(changes++);
        atomic_fetch_add(&executed, 1000000);
    }
    return atomic_load(&executed);
}

static void *set_again_and_again(void *count)
{
    for (long i = 0; i < *(const long *)count; i++) {
        atomic_fetch_add(&executed, 1000);
        change(i);
        ft_time_skip(100);
    }
    atomic_store(&done, true);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return 2;
    }
    bool within = strcmp(argv[1], "within") == 0;
    long count = atol(argv[2]);
    ft_time_start(1000000000, 1000000000);
    ft_time_machine_runs();
    pthread_t writer;
    if (!within && pthread_create(&writer, NULL, set_again_and_again, &count) != 0) {
        return 2;
    }
    int64_t least = INT64_MAX;
    int64_t last = ft_time_now_ns();
    for (long i = 0; within ? i < count : !atomic_load(&done); i++) {
        if (within) {
            change_within = true;
        }
        int64_t now = ft_time_now_ns();
        least = now - last < least ? now - last : least;
        last = now;
    }
    if (!within) {
        pthread_join(writer, NULL);
    }
    printf("%" PRId64 " %" PRId64 "\n", least, ft_time_now_ns());
    return 0;
}

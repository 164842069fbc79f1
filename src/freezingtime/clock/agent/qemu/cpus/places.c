/* SPDX-License-Identifier: GPL-2.0-or-later */
#define _GNU_SOURCE
#include "qemu/cpus/places.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ours/base.h"

#ifndef __x86_64__
#error "knows the code of x86-64 only"
#endif

static bool lies_in(const void *address, const struct dl_phdr_info *file,
                    const ElfW(Phdr) * segment)
{
    uintptr_t start = file->dlpi_addr + segment->p_vaddr;
    return (uintptr_t)address >= start && (uintptr_t)address < start + segment->p_memsz;
}

struct search {
    const void *address;
    struct ft_code code;
};

static int find_file(struct dl_phdr_info *file, size_t size, void *data)
{
    (void)size;
    struct search *search = data;
    for (size_t i = 0; i < file->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &file->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) &&
            lies_in(search->address, file, segment)) {
            const char *start = (const char *)(file->dlpi_addr + segment->p_vaddr);
            search->code = (struct ft_code){
                .start = start,
                .end = start + segment->p_memsz,
                .base = (const char *)file->dlpi_addr,
                .segments = file->dlpi_phdr,
                .segment_count = file->dlpi_phnum,
            };
            return 1;
        }
    }
    return 0;
}

struct ft_code ft_code_of_file(const void *address)
{
    struct search search = {.address = address};
    dl_iterate_phdr(find_file, &search);
    return search.code;
}

static const char *segment_of_type(const struct ft_code *code, uint32_t type)
{
    for (size_t i = 0; i < code->segment_count; i++) {
        if (code->segments[i].p_type == type) {
            return code->base + code->segments[i].p_vaddr;
        }
    }
    return NULL;
}

/* The table by which exceptions find the function that they are in, sorted by address: the Linux
 * Standard Base, "Exception Frames". It knows static functions as well. */
struct frame_table {
    uint8_t version, frames_encoding, count_encoding, table_encoding;
    int32_t frames;
    uint32_t count;
    struct {
        int32_t function, description; /* from this table's start */
    } entries[];
};

struct frame_description {
    uint32_t bytes, common;
    int32_t function; /* from here */
    uint32_t function_bytes;
};

/* DW_EH_PE_: pcrel | sdata4, udata4, datarel | sdata4, as all linkers write them on x86-64. */
enum { FRAMES_ENCODING = 0x1b, COUNT_ENCODING = 0x03, TABLE_ENCODING = 0x3b };

struct ft_code ft_code_of_function(const void *address)
{
    struct ft_code code = ft_code_of_file(address);
    const char *start = segment_of_type(&code, PT_GNU_EH_FRAME);
    const struct frame_table *table = (const struct frame_table *)(const void *)start;
    code.end = code.start;
    if (!table || table->version != 1 || table->frames_encoding != FRAMES_ENCODING ||
        table->count_encoding != COUNT_ENCODING || table->table_encoding != TABLE_ENCODING) {
        return code;
    }
    uint32_t low = 0, high = table->count; /* the last that begins at the address or before it */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (start + table->entries[middle].function <= (const char *)address) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (table->count == 0) {
        return code;
    }
    const char *function = start + table->entries[low].function;
    const struct frame_description *description =
        (const void *)(start + table->entries[low].description);
    bool is_its_own = (const char *)&description->function + description->function == function;
    if (is_its_own && (const char *)address >= function &&
        (const char *)address < function + description->function_bytes) {
        code.start = function;
        code.end = function + description->function_bytes;
    }
    return code;
}

void *ft_function_named(const void *address, const char *name)
{
    Dl_info found;
    struct link_map *file = NULL;
    if (!dladdr1(address, &found, (void **)&file, RTLD_DL_LINKMAP) || !file) {
        return NULL;
    }
    /* The program's own has no name. */
    void *handle = dlopen(*file->l_name ? file->l_name : NULL, RTLD_LAZY | RTLD_NOLOAD);
    if (!handle) {
        return NULL;
    }
    void *function = dlsym(handle, name);
    dlclose(handle);
    return function ? function : dlsym(RTLD_DEFAULT, name);
}

static void protect(void *place, size_t bytes, int protection)
{
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)place & ~(page_bytes - 1);
    uintptr_t end = ((uintptr_t)place + bytes + page_bytes - 1) & ~(page_bytes - 1);
    if (mprotect((void *)first, end - first, protection) != 0) {
        ft_die(FT_EXIT_REFUSED,
               "the host does not let the agent change QEMU's code (%s); "
               "SELinux's 'execmod' forbids it, for example",
               strerror(errno));
    }
}

/* A call reaches 2 GiB far. */
static bool is_near(const char *from, const char *to)
{
    return to - from <= INT32_MAX && to - from >= INT32_MIN;
}

enum { JUMP_BYTES = 16 };

/* Functions are aligned to so many bytes, so none is shorter. */
static void write_jump(void *place, const void *function)
{
    unsigned char jump[JUMP_BYTES] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
    memcpy(jump + 2, &function, sizeof function); /* movabs $function, %rax; jmp *%rax */
    protect(place, sizeof jump, PROT_READ | PROT_WRITE | PROT_EXEC);
    memcpy(place, jump, sizeof jump);
    protect(place, sizeof jump, PROT_READ | PROT_EXEC);
}

/* Where a call from this code can go to get to a function that may be far away: a jump of ours.
 * Each is 16 bytes long; they fill one page near the first code that needs any. */
static const char *within_reach(const struct ft_code *code, const void *function)
{
    static char *page;
    static size_t used;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    if (is_near(code->start, function) && is_near(code->end, function)) {
        return function;
    }
    for (uintptr_t hint = (uintptr_t)code->start & ~(page_bytes - 1); !page;) {
        hint -= UINT64_C(1) << 20;
        void *got = mmap((void *)hint, page_bytes, PROT_READ | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got != MAP_FAILED) {
            page = got;
        } else if (errno != EEXIST || !is_near(code->end, (const char *)hint)) {
            ft_die(FT_EXIT_REFUSED, "no memory near QEMU's code: %s", strerror(errno));
        }
    }
    char *place = page + used;
    used += JUMP_BYTES;
    if (used > page_bytes || !is_near(code->end, place)) {
        ft_die(FT_EXIT_REFUSED, "the agent's own code is too far from QEMU's");
    }
    write_jump(place, function);
    return place;
}

void ft_replace_function(void *function, const void *ours)
{
    write_jump(function, ours);
}

enum { CALL = 0xe8, CALL_BYTES = 5 }; /* call, and a distance of 32 bits from its end */

/* The next call of this function from an address on; NULL: there is none. */
static const char *next_call(const struct ft_code *code, const char *from, const void *function)
{
    const char *at = from;
    while (at + CALL_BYTES <= code->end &&
           (at = memchr(at, CALL, (size_t)(code->end - at - CALL_BYTES + 1)))) {
        int32_t distance;
        memcpy(&distance, at + 1, sizeof distance);
        if (at + CALL_BYTES + distance == (const char *)function) {
            return at;
        }
        at++;
    }
    return NULL;
}

const char *ft_only_call(const struct ft_code *code, const void *function)
{
    const char *call = next_call(code, code->start, function);
    return call && !next_call(code, call + 1, function) ? call : NULL;
}

int ft_redirect_calls(const struct ft_code *code, const void *function, const void *ours)
{
    const char *call = next_call(code, code->start, function);
    const char *target = call ? within_reach(code, ours) : NULL;
    int count = 0;
    for (; call; call = next_call(code, call + CALL_BYTES, function)) {
        int32_t distance = (int32_t)(target - (call + CALL_BYTES));
        void *place = (void *)(uintptr_t)(call + 1);
        protect(place, sizeof distance, PROT_READ | PROT_WRITE | PROT_EXEC);
        memcpy(place, &distance, sizeof distance);
        protect(place, sizeof distance, PROT_READ | PROT_EXEC);
        count++;
    }
    return count;
}

/* What the dynamic section says; the loader has made addresses of offsets. */
static uintptr_t dynamic_value(const struct ft_code *file, ElfW(Sxword) tag)
{
    const ElfW(Dyn) *entry = (const void *)segment_of_type(file, PT_DYNAMIC);
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == tag) {
            return entry->d_un.d_val;
        }
    }
    return 0;
}

static int redirect_slots_of(const struct ft_code *file, const ElfW(Rela) * relocations,
                             size_t bytes, const char *name, const void *ours)
{
    const ElfW(Sym) *symbols = (const void *)dynamic_value(file, DT_SYMTAB);
    const char *names = (const char *)dynamic_value(file, DT_STRTAB);
    int count = 0;
    for (size_t i = 0; symbols && names && i < bytes / sizeof *relocations; i++) {
        uint64_t type = ELF64_R_TYPE(relocations[i].r_info);
        const ElfW(Sym) *symbol = &symbols[ELF64_R_SYM(relocations[i].r_info)];
        if ((type != R_X86_64_JUMP_SLOT && type != R_X86_64_GLOB_DAT) ||
            strcmp(names + symbol->st_name, name) != 0) {
            continue;
        }
        void *slot = (void *)(uintptr_t)(file->base + relocations[i].r_offset);
        protect(slot, sizeof ours, PROT_READ | PROT_WRITE);
        memcpy(slot, &ours, sizeof ours);
        count++;
    }
    return count;
}

/* The slots stay writable: those that are bound late have to be. */
int ft_redirect_slots(const struct ft_code *file, const char *name, const void *ours)
{
    return redirect_slots_of(file, (const void *)dynamic_value(file, DT_JMPREL),
                             dynamic_value(file, DT_PLTRELSZ), name, ours) +
           redirect_slots_of(file, (const void *)dynamic_value(file, DT_RELA),
                             dynamic_value(file, DT_RELASZ), name, ours);
}

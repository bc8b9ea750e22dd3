/* Preloaded into user-mode Linux; see xstate.py. No headers: tcc comes without those of libc. */

enum { PTRACE_SETREGSET = 0x4205, NT_X86_XSTATE = 0x202 }; /* linux/ptrace.h, linux/elf.h */

struct iovec {
    char *base;
    unsigned long length;
};
typedef long ptrace_function(long request, long pid, long address, void *data);

extern void *dlsym(void *handle, const char *name);
static void *const RTLD_NEXT = (void *)-1;

/* More than any processor's. The machine's kernel takes what it needs of it. What is beyond the
 * part that user-mode Linux has kept stays zero, and the part says that it is not in use. */
static char whole[1 << 16];

long ptrace(long request, long pid, long address, void *data)
{
    static ptrace_function *next;
    if (!next)
        next = (ptrace_function *)dlsym(RTLD_NEXT, "ptrace");
    if ((int)request != PTRACE_SETREGSET || address != NT_X86_XSTATE)
        return next(request, pid, address, data);

    const struct iovec *part = data;
    struct iovec all = { whole, sizeof whole };
    for (unsigned long i = 0; i < part->length && i < sizeof whole; i++)
        whole[i] = part->base[i];
    return next(request, pid, address, &all);
}

/* The device seam: how Tutti uses the memory, streams and kernels of an accelerator (or of the
 * host), major version 1. C99 and C++.
 *
 * A device is a table of functions. A plug-in exports one function, tutti_device_query_v1; devices
 * built into the library hand over the same table.
 *
 * Rules of the binary interface
 *  - Within a major version things are only appended. Tables and structs passed by pointer begin
 *    with struct_size: whoever fills one writes at most that many bytes, whoever reads one treats
 *    what lies beyond as zero, that is, absent.
 *  - No enum, bool or bit-field in a struct. Statuses are int32_t.
 *  - A function that a device does not have is NULL or returns TUTTI_E_UNSUPPORTED. Returning
 *    TUTTI_OK for something that was not done breaks the contract.
 *  - A table without one of the required functions is refused; the program goes on without it.
 *
 * Threads
 *  Any function may be called from any thread that has called thread_attach, never from a signal
 *  handler and never in a child after fork. Calls on one stream, and calls on one event, are made
 *  by one thread at a time; calls on different ones run in parallel.
 *
 * Lifetime
 *  Close in the order events and gates, streams, memory, device. Nothing is destroyed while work
 *  that uses it is pending.
 */
#ifndef TUTTI_DEVICE_H
#define TUTTI_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TUTTI_DEVICE_ABI_MAJOR 1
#define TUTTI_DEVICE_ABI_MINOR 1

/* ---- Results ------------------------------------------------------------------------------- */

/* Zero is success, positive is "not yet", negative is failure. Append only. */
typedef int32_t tutti_status;
enum {
  TUTTI_OK = 0,
  TUTTI_NOT_READY = 1,      /* the event has not happened yet */
  TUTTI_E_ARG = -1,         /* a bad argument; nothing was done */
  TUTTI_E_UNSUPPORTED = -2, /* this device cannot; nothing was done */
  TUTTI_E_NOMEM = -3,       /* out of memory; nothing was done */
  TUTTI_E_NO_DEVICE = -4,   /* no driver or no such ordinal */
  TUTTI_E_DEVICE = -5,      /* the device is lost; every later call may say so again */
  TUTTI_E_SYSTEM = -6,      /* the operating system refused; see error_string */
  TUTTI_E_ABI = -7,         /* versions that cannot work together */
  TUTTI_E_PEER_LOST = -8,   /* memory or a handle of a process or device that is gone */
  TUTTI_E_TIMEOUT = -9,     /* a limit that the device keeps by itself has passed */
  TUTTI_E_ABORTED = -10     /* given up because the work was aborted */
};

/* ---- Constants ----------------------------------------------------------------------------- */

/* tutti_ptr_info.kind and the kind asked of mem_alloc. */
enum {
  TUTTI_MEM_HOST = 0,        /* ordinary host memory */
  TUTTI_MEM_HOST_PINNED = 1, /* host memory that the device reads and writes by itself */
  TUTTI_MEM_DEVICE = 2,      /* memory of the device */
  TUTTI_MEM_MANAGED = 3      /* memory that migrates */
};

/* tutti_ptr_info.flags */
enum {
  TUTTI_MEMF_HOST_ADDRESSABLE = 1, /* the processor may read and write through the pointer */
  TUTTI_MEMF_DEV_ADDRESSABLE = 2   /* kernels of the device may */
};

/* tutti_dev_props.caps */
enum {
  TUTTI_CAP_REDUCE = 1 << 0,
  TUTTI_CAP_IPC_MEM = 1 << 1, /* mem_export as an opaque blob */
  TUTTI_CAP_DMABUF = 1 << 2,  /* mem_export as a file descriptor */
  TUTTI_CAP_HOST_MAP = 1 << 3,
  TUTTI_CAP_PEER = 1 << 4,
  TUTTI_CAP_NOTIFY = 1 << 5,
  TUTTI_CAP_HOST_REGISTER = 1 << 6,
  TUTTI_CAP_CAPTURE = 1 << 7,       /* work may be enqueued on a stream that is being captured */
  TUTTI_CAP_FABRIC_HANDLE = 1 << 8, /* exported blobs are good on other hosts of the island */
  TUTTI_CAP_NEEDS_FLUSH = 1 << 9    /* flush must be called after foreign DMA writes */
};

/* tutti_reduce_args.stores: what becomes of the result. A hint. */
enum {
  TUTTI_STORES_CACHED = 0,   /* it is read again soon */
  TUTTI_STORES_STREAMING = 1 /* it is larger than the caches and is not */
};

/* mem_export kinds */
enum { TUTTI_EXPORT_BLOB = 0, TUTTI_EXPORT_FD = 1 };

/* ---- Objects ------------------------------------------------------------------------------- */

typedef struct tutti_dev tutti_dev;     /* an opened device */
typedef struct tutti_event tutti_event; /* a point in the work of a stream */
/* A 64-bit counter that only grows. Streams wait for it to reach a value; the host raises it. */
typedef struct tutti_gate tutti_gate;
/* The native stream handle of the device (so that users pass theirs). NULL: the device's default
 * stream; on the host device, where there is none, "now, before the call returns". */
typedef void* tutti_stream;

typedef struct tutti_dev_props {
  uint32_t struct_size;
  uint32_t caps;              /* TUTTI_CAP_... */
  char name[64];              /* terminated */
  char pci_bdf[24];           /* "0000:3b:00.0", or empty */
  int32_t numa;               /* nearest memory node, -1 unknown */
  uint32_t max_waiting_gates; /* streams that may wait for gates at once; 0: no limit */
  uint64_t total_mem;         /* bytes */
  uint64_t copy_align;        /* addresses and sizes that copy moves fastest are multiples of it */
  uint32_t topo_domain;       /* island of devices with a common fabric, 0: none */
  uint32_t topo_index;        /* place in that island */
  int32_t priority_lowest;    /* range of stream priorities; a smaller number is more urgent. */
  int32_t priority_highest;   /* Both 0: the device has no priorities */
} tutti_dev_props;

typedef struct tutti_ptr_info {
  uint32_t struct_size;
  uint32_t kind;   /* TUTTI_MEM_... */
  uint32_t flags;  /* TUTTI_MEMF_... */
  int32_t ordinal; /* of the device that owns the memory */
  void* base;      /* start of the allocation, NULL when unknown */
  uint64_t size;   /* of the allocation, 0 when unknown */
  void* host_ptr;  /* where the processor sees the pointer, NULL when it does not */
} tutti_ptr_info;

typedef struct tutti_mem_handle {
  uint32_t struct_size;
  uint32_t kind; /* TUTTI_EXPORT_... */
  uint32_t len;  /* used bytes of blob */
  int32_t fd;    /* TUTTI_EXPORT_FD: owned by the receiver of the handle */
  uint64_t offset;
  uint64_t size;
  uint8_t blob[512];
} tutti_mem_handle;

/* dst[j][i] = fold(op, src[0][i], ..., src[nsrc-1][i]) for every j < ndst and i < count: a left
 * fold in the accumulation type (f32 for floats of 8 and 16 bits), divided by `divisor` unless that
 * is 0, rounded once. Element types, operators and their exact results: docs/numbers.md; a device
 * returns the same bits as the host. A destination may equal a source exactly. The struct, the
 * arrays and the scalars are read before the call returns. nsrc == 1 copies
 * (to all destinations), making NaNs quiet and bools 0 or 1; as bytes with dtype u8.
 */
typedef struct tutti_reduce_args {
  uint32_t struct_size;
  uint32_t dtype;   /* a tuttiDataType_t */
  uint32_t op;      /* a tuttiRedOp_t: sum, prod, max, min, band, bor or bxor */
  uint32_t divisor; /* averages are sums with a divisor; 0: none */
  uint32_t stores;  /* TUTTI_STORES_... */
  uint32_t nsrc;    /* at least 1 */
  uint32_t ndst;    /* at least 1 */
  uint32_t threads; /* of the processor, that may share the work; 0 like 1. Since 1.1 */
  uint64_t count;   /* elements */
  const void* const* src;
  void* const* dst;
  /* NULL, or nsrc host pointers to one element of dtype each: source k is multiplied by scalar[k]
   * and rounded to dtype before it is folded; a NULL entry leaves that source as it is. Floats
   * only. */
  const void* const* scalar;
} tutti_reduce_args;

/* What the library offers to a plug-in. */
typedef struct tutti_host_api {
  uint32_t struct_size;
  uint32_t reserved;                           /* 0 */
  void (*log)(int level, const char* message); /* 0 error, 1 warning, 2 information, 3 debug */
  const char* (*setting)(const char* name);    /* the value of a setting, NULL when unset */
} tutti_host_api;

/* ---- The table ----------------------------------------------------------------------------- */

typedef struct tutti_device_api {
  uint32_t struct_size;
  uint16_t abi_major;
  uint16_t abi_minor;
  const char* name;    /* short and unique, e.g. "host" */
  const char* version; /* of the plug-in */

  /* -- Required (22) -- */

  /* How many ordinals can be opened now. Never fails for want of a driver: then it is 0. */
  tutti_status (*count)(int* n);
  tutti_status (*open)(int ordinal, tutti_dev** out);
  tutti_status (*close)(tutti_dev* dev);
  tutti_status (*props)(tutti_dev* dev, tutti_dev_props* out);
  /* Once per thread before its first use of the device. Calling it again does nothing. */
  tutti_status (*thread_attach)(tutti_dev* dev);

  /* What `p`, any address inside an allocation, points to. TUTTI_E_UNSUPPORTED: not ours. (The host
   * device owns what nobody else does and answers for every address.) */
  tutti_status (*ptr_query)(tutti_dev* dev, const void* p, tutti_ptr_info* out);
  tutti_status (*mem_alloc)(tutti_dev* dev, size_t bytes, uint32_t kind, void** out);
  tutti_status (*mem_free)(tutti_dev* dev, void* p);
  /* Copies in the order of the stream; the direction follows from the pointers. bytes == 0 is fine.
   * The source stays valid and unchanged until the copy is done. Running over the end of an
   * allocation that the device knows: TUTTI_E_ARG, or undefined on a NULL stream. */
  tutti_status (*copy)(tutti_dev* dev, void* dst, const void* src, size_t bytes, tutti_stream s);

  /* `priority` within the range of the properties; out of range is clamped. */
  tutti_status (*stream_create)(tutti_dev* dev, int32_t priority, tutti_stream* out);
  /* TUTTI_E_ARG while work is pending. */
  tutti_status (*stream_destroy)(tutti_dev* dev, tutti_stream s);
  /* Returns when everything enqueued before the call is done. Blocks while a gate is closed. */
  tutti_status (*stream_sync)(tutti_dev* dev, tutti_stream s);

  tutti_status (*event_create)(tutti_dev* dev, tutti_event** out);
  tutti_status (*event_destroy)(tutti_event* event);
  /* The event now stands for all work enqueued on `s` so far, and no longer for what it stood for
   * before. */
  tutti_status (*event_record)(tutti_event* event, tutti_stream s);
  /* TUTTI_OK: that work is done, or nothing was ever recorded. TUTTI_NOT_READY: not yet. */
  tutti_status (*event_query)(tutti_event* event);
  /* Later work of `s` waits for the last record made before this call; none was made: no-op. */
  tutti_status (*stream_wait_event)(tutti_stream s, tutti_event* event);

  tutti_status (*gate_create)(tutti_dev* dev, tutti_gate** out); /* starts at 0 */
  /* TUTTI_E_ARG while a stream waits for it. */
  tutti_status (*gate_destroy)(tutti_gate* gate);
  /* Returns at once; later work of `s` runs when the gate is at `value` or above. */
  tutti_status (*stream_wait_gate)(tutti_stream s, tutti_gate* gate, uint64_t value);
  /* Raises the gate to `value` (a lower one changes nothing). From any thread, one at a time for
   * one gate; never waits. What the caller did or saw completed before is visible to the work that
   * it releases. */
  tutti_status (*gate_set)(tutti_gate* gate, uint64_t value);

  /* The last failure of the calling thread in words. Never NULL; valid until its next call. */
  const char* (*error_string)(tutti_dev* dev);

  /* -- Optional: NULL or beyond struct_size means absent -- */

  tutti_status (*reduce)(tutti_dev* dev, const tutti_reduce_args* args, tutti_stream s);
  /* TUTTI_OK or TUTTI_E_UNSUPPORTED for the pair. */
  tutti_status (*reduce_supported)(tutti_dev* dev, uint32_t dtype, uint32_t op);
  /* Calls fn(arg) once, after all work enqueued before. fn neither blocks nor calls the device. May
   * come late: a hint, never the only way to learn of completion. */
  tutti_status (*stream_notify)(tutti_stream s, void (*fn)(void*), void* arg);
  tutti_status (*host_register)(tutti_dev* dev, void* p, size_t bytes);
  tutti_status (*host_unregister)(tutti_dev* dev, void* p);
  tutti_status (*mem_export)(tutti_dev* dev, void* p, size_t bytes, uint32_t kind,
                             tutti_mem_handle* out);
  tutti_status (*mem_import)(tutti_dev* dev, const tutti_mem_handle* handle, void** out);
  tutti_status (*mem_unimport)(tutti_dev* dev, void* p);
  /* A window through which the processor sees device memory. */
  tutti_status (*host_map)(tutti_dev* dev, void* p, size_t bytes, void** host);
  tutti_status (*host_unmap)(tutti_dev* dev, void* p);
  tutti_status (*peer_access)(tutti_dev* dev, int peer_ordinal);
  /* Makes what a third party wrote into device memory visible to later work of the stream. */
  tutti_status (*flush)(tutti_dev* dev, void* p, size_t bytes, tutti_stream s);
  /* *id is not 0 while the stream is being captured into a graph. */
  tutti_status (*capture_status)(tutti_stream s, uint64_t* id);
  /* Ends the threads of the device's own, before the process exits; later calls do without them.
   * Since 1.1. */
  tutti_status (*quiesce)(tutti_dev* dev);
} tutti_device_api;

/* The one function that a plug-in exports, named tutti_device_query_v1: the major version is in the
 * name, so a plug-in may serve several. The table it hands out stays valid for ever. */
typedef tutti_status (*tutti_device_query_v1_fn)(const tutti_host_api* host,
                                                 const tutti_device_api** out);

#ifdef __cplusplus
}
#endif

#endif /* TUTTI_DEVICE_H */

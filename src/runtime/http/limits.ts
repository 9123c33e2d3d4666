const KIB = 1024;
const MIB = 1024 * KIB;

/** All headers of a response. Node's default, stated so that a flag of the process does not change it. */
export const MAX_HEADER_BYTES = 16 * KIB;

/** A response that is kept whole: a page of ten objects of 1.5 MiB each, the most that etcd stores. Counted decompressed. */
export const MAX_RESPONSE_BYTES = 16 * MIB;

/**
 * A list that is read item by item: 10,000 upstreams of 100 nodes each. What is kept of it takes three times as much memory
 * (docs/decisions/0033-lists-of-gateways-are-read-item-by-item.md). Counted decompressed.
 */
export const MAX_LIST_BYTES = 48 * MIB;

/** The part of a list that is not an item: a few members. */
export const MAX_LIST_REST_BYTES = 64 * KIB;

/** Scanning this much takes a few milliseconds. After it, the event loop runs everything else that is due. */
export const LIST_SLICE_BYTES = 512 * KIB;

/** A server may ask for a pause, but not for an endless one. */
export const MAX_RETRY_AFTER_MS = 300_000;

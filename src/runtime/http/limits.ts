const KIB = 1024;
const MIB = 1024 * KIB;

/** Maximum size of all response headers. Node's default, set here so that a process flag cannot change it. */
export const MAX_HEADER_BYTES = 16 * KIB;

/**
 * Maximum size of a response that is kept in memory, decompressed. It fits a page of ten objects of 1.5 MiB each, the
 * largest that etcd stores.
 */
export const MAX_RESPONSE_BYTES = 16 * MIB;

/**
 * Maximum size of a list that is read item by item, decompressed. It fits 10,000 upstreams with 100 nodes each. The parsed
 * result takes three times as much memory (docs/decisions/0033-lists-of-gateways-are-read-item-by-item.md).
 */
export const MAX_LIST_BYTES = 48 * MIB;

/** Maximum size of a list response without its items. */
export const MAX_LIST_REST_BYTES = 64 * KIB;

/** Maximum size of a line that is kept, of a response that is a stream of lines. */
export const MAX_LINE_BYTES = 64 * KIB;

/** Bytes that are scanned before the event loop gets a turn. Scanning this much takes a few milliseconds. */
export const LIST_SLICE_BYTES = 512 * KIB;

/** Upper limit for the Retry-After of a server. */
export const MAX_RETRY_AFTER_MS = 300_000;

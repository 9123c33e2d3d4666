import type { Quantiles } from '../measure.ts';

export const KINDS = ['register', 'change', 'deregister', 'expire'] as const;
export type Kind = (typeof KINDS)[number];

/** Changes of one kind. Milliseconds from the registry's response, or from the expiry. */
export interface KindLatency {
  readonly changes: number;
  /** Until the gateway carried out the PUT. */
  readonly gateway: Quantiles;
  /** Until a bare blocking query had the answer; undefined for a registry that is polled. */
  readonly notification: Quantiles | undefined;
  /** Changes that never reached the gateway. */
  readonly lost: readonly string[];
  /** PUTs with the same content as the previous one. */
  readonly needless: number;
}

export interface Latency {
  readonly services: number;
  readonly kinds: Readonly<Partial<Record<Kind, KindLatency>>>;
}

/** Requests to the registry in a period. */
export interface Traffic {
  readonly seconds: number;
  readonly requests: number;
  /** Writes to the gateway in the same period. */
  readonly writes: number;
}

export interface Load {
  readonly services: number;
  readonly instances: number;
  /** From the start of the process until every upstream was written. */
  readonly programmedSeconds: number;
  /** Upstreams that were not written, or with other nodes. */
  readonly wrong: readonly string[];
  readonly rssMiB: number;
  readonly idle: Traffic & { readonly cpuPercent: number };
  /** After all connections were closed. */
  readonly reconnect: Traffic;
  /** While the registry closes every connection. */
  readonly outage: Traffic;
  /** After the outage. */
  readonly recovery: Traffic;
}

export interface RegistryResult {
  readonly type: string;
  /** The interval of the registry's own notification, if it is polled. */
  readonly pollIntervalMs: number | undefined;
  /** With a query per service, and with more services than queries. */
  readonly latencies: readonly Latency[];
  readonly load: Load | undefined;
}

import type { Quantiles } from './measure.ts';
import type { RegistryResult } from './registries/results.ts';

/** Violations. All counts must be 0. */
export interface Faults {
  /** Changes that never reached the gateway. */
  readonly lost: readonly string[];
  /** Writes of an id while another write of that id was in progress. */
  readonly overlapping: number;
  /** Writes with the same content as the previous one. */
  readonly needless: number;
  /** The number of writes beyond the number of changes. */
  readonly surplus: number;
}

export interface Propagation extends Faults {
  readonly rate: number;
  readonly changes: number;
  /** Changes that the API server accepted only after a retry. Their time is not measured. */
  readonly refusedAtFirst: number;
  /** Milliseconds from the API server's response until the gateway has the new nodes. */
  readonly operator: Quantiles;
  readonly floor: Quantiles;
  /** Changes that took more than a second. */
  readonly late: readonly string[];
  readonly writes: number;
  /** CPU milliseconds of one core per change. */
  readonly operatorCpuMs: number;
  readonly floorCpuMs: number;
  readonly apiRequests: Readonly<Record<string, number>>;
  readonly gatewayRequests: Readonly<Record<string, number>>;
}

export interface Programming extends Faults {
  readonly putsPerSecond: number;
  readonly barePutsPerSecond: number;
  /** From the start of the process to the last write. */
  readonly seconds: number;
  readonly apiRequests: Readonly<Record<string, number>>;
  readonly gatewayRequests: Readonly<Record<string, number>>;
}

/** Changes of one phase. */
export interface EarlyPhase {
  readonly changes: number;
  /** Milliseconds from the API server's response until the gateway has the new nodes. */
  readonly operator: Quantiles;
  readonly floor: Quantiles;
}

export interface EarlyPhases {
  /** Changes of upstreams that the gateway already had, until the last upstream was written for the first time. */
  readonly during?: EarlyPhase;
  /** Changes of upstreams that the gateway did not have yet, in the same time. */
  readonly unwritten?: EarlyPhase;
  /** Changes in the 20 s after that. */
  readonly after?: EarlyPhase;
}

/** Endpoint changes during and after the first programming. */
export interface Early extends Faults {
  readonly rate: number;
  /** From the start of the process until the last upstream was written for the first time. */
  readonly programmedSeconds: number;
  readonly phases: EarlyPhases;
  readonly apiRequests: Readonly<Record<string, number>>;
}

export interface Start {
  /** From the start of the process until the last object was reconciled. */
  readonly seconds: number;
  /** From the start of a process to the end of a bare paged list. */
  readonly bareSeconds: number;
  /** Writes to the gateway, except the one that marks the end. */
  readonly writes: number;
  readonly apiRequests: Readonly<Record<string, number>>;
  readonly gatewayRequests: Readonly<Record<string, number>>;
}

export interface Memory {
  readonly rssMiB: number;
  readonly peakRssMiB: number;
  readonly heapMiB: number;
}

export interface Idle {
  /** Percent of a core without changes and resyncs. */
  readonly quietPercent: number;
  /** CPU seconds of one resync. */
  readonly resyncCpuSeconds: number;
  /** Percent of a core with a resync every ten minutes, the default. */
  readonly percent: number;
}

export interface Storm {
  readonly services: number;
  readonly writes: number;
  readonly mostPerService: number;
  /** From the API server's last response until all upstreams were correct. */
  readonly lastMs: number;
  /** From the first change until all upstreams were correct. */
  readonly totalMs: number;
  readonly wrong: number;
}

export interface Rollout {
  readonly endpoints: number;
  readonly changes: number;
  readonly writes: number;
  /** From the API server's response to the last change of ready endpoints until the upstream was correct. */
  readonly lastMs: number;
  readonly wrong: number;
}

export interface TakeOver {
  /** From the signal to the leader until its successor programmed a simultaneous change. */
  readonly afterSigtermMs: number;
  readonly afterSigkillMs: number;
  readonly needless: number;
}

export interface SizeResult {
  readonly upstreams: number;
  readonly early?: Early;
  readonly programming?: Programming;
  readonly start?: Start;
  readonly propagation?: readonly Propagation[];
  readonly memory?: Memory;
  readonly idle?: Idle;
  readonly storm?: Storm;
  readonly rollout?: Rollout;
  readonly takeover?: TakeOver;
}

export interface Result {
  readonly machine: string;
  readonly gateway: string;
  readonly command: string;
  readonly sizes: readonly SizeResult[];
  /** With `--registries`. */
  readonly registries?: readonly RegistryResult[];
}

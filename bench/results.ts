import type { Quantiles } from './measure.ts';

/** Counts that must be 0, and what they count. */
export interface Faults {
  /** Changes that the gateway never had. */
  readonly lost: readonly string[];
  /** Writes of an id while another one of that id was under way. */
  readonly overlapping: number;
  /** Writes that say what the one before said. */
  readonly needless: number;
  /** Writes more than there were changes. */
  readonly surplus: number;
}

export interface Propagation extends Faults {
  readonly rate: number;
  readonly changes: number;
  /** Changes that the API server took at a second try only; their time is not counted. */
  readonly refusedAtFirst: number;
  /** Milliseconds from the API server's answer to the gateway's having the new nodes. */
  readonly operator: Quantiles;
  readonly floor: Quantiles;
  /** Changes that took more than a second. */
  readonly late: readonly string[];
  readonly writes: number;
  /** CPU milliseconds of one core for one change. */
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
  /** Milliseconds from the API server's answer to the gateway's having the new nodes. */
  readonly operator: Quantiles;
  readonly floor: Quantiles;
}

export interface EarlyPhases {
  /** Until the last upstream was written for the first time: changes of upstreams that the gateway had already. */
  readonly during?: EarlyPhase;
  /** In the same time: changes of upstreams that the gateway did not have yet. */
  readonly unwritten?: EarlyPhase;
  /** In the 20 s after it. */
  readonly after?: EarlyPhase;
}

/** Changes of endpoints while the program is at work for the first time. */
export interface Early extends Faults {
  readonly rate: number;
  /** From the start of the process until the last upstream was written for the first time. */
  readonly programmedSeconds: number;
  readonly phases: EarlyPhases;
  readonly apiRequests: Readonly<Record<string, number>>;
}

export interface Start {
  /** From the start of the process until the last object was found to be right. */
  readonly seconds: number;
  /** From the start of a process to the end of a bare paged list. */
  readonly bareSeconds: number;
  /** To the gateway, but for the one that tells the end. */
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
  /** Per cent of a core while nothing happens. */
  readonly quietPercent: number;
  /** CPU seconds of one resync. */
  readonly resyncCpuSeconds: number;
  /** Per cent of a core with a resync every ten minutes, which is the default. */
  readonly percent: number;
}

export interface Storm {
  readonly services: number;
  readonly writes: number;
  readonly mostPerService: number;
  /** From the API server's last answer until everything was right. */
  readonly lastMs: number;
  /** From the first change until everything was right. */
  readonly totalMs: number;
  readonly wrong: number;
}

export interface Rollout {
  readonly endpoints: number;
  readonly changes: number;
  readonly writes: number;
  /** From the API server's answer to the last change of what is ready until the gateway was right. */
  readonly lastMs: number;
  readonly wrong: number;
}

export interface TakeOver {
  /** From the signal to the leader until its successor had programmed a change made at that moment. */
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
}

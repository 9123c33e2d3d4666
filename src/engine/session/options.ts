import type { Reason } from '../../api/reasons.ts';
import type { GatewayDriver } from '../../gateways/driver.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import type { Backoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { WriteOperation } from '../instruments.ts';

/** The result of a complete list of the gateway. */
export interface ListReport {
  /** Whether the gateway was unusable, or its upstreams were not listed, before this list. */
  readonly recovered: boolean;
  /** Ids whose content changed since this session last read or wrote it. */
  readonly changed: ReadonlySet<UpstreamId>;
  readonly observed: ReadonlyMap<UpstreamId, ObservedUpstream>;
}

export interface SessionOptions {
  readonly driver: GatewayDriver;
  readonly clock: Clock;
  readonly random: () => number;
  readonly backoff: Backoff;
  readonly log: Logger;
  /** Milliseconds between two complete lists while the gateway is available. */
  readonly resyncMs: number;
  /** Runs a request within the connection's `limits.requestsPerSecond`. */
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  /** Checked right before each write. While it returns false, no write starts and `closed` is true. */
  readonly mayWrite: () => boolean;
  readonly onList: (report: ListReport) => void;
  /** A read-back showed that the gateway's content for `id` differs from the last write of this session. */
  readonly onLateWrite: (id: UpstreamId, observed: ObservedUpstream | undefined) => void;
  /** Data planes confirmed or rejected the last write of `id`. */
  readonly onConfirmation?: (id: UpstreamId) => void;
  /** Whether a GatewayUpstream uses `id`. Drift of other ids is not recorded. */
  readonly isWanted: (id: UpstreamId) => boolean;
  /** The state changed. `everything`: reconcile the connection and its upstreams; `connection`: only the connection. */
  readonly onState: (scope: 'everything' | 'connection') => void;
  /** A write ended. */
  readonly onWrite?: (operation: WriteOperation, outcome: 'accepted' | Reason) => void;
  /** A request failed. */
  readonly onError?: (reason: Reason) => void;
}

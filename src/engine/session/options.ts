import type { Reason } from '../../api/reasons.ts';
import type { GatewayDriver } from '../../gateways/driver.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import type { Backoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import type { WriteOperation } from '../instruments.ts';

/** What a full list of the gateway showed. */
export interface ListReport {
  /** The gateway was not usable before this list, so nothing was known of it. */
  readonly recovered: boolean;
  /** Ids whose content is not what it was when this session saw it last. */
  readonly changed: ReadonlySet<UpstreamId>;
  readonly observed: ReadonlyMap<UpstreamId, ObservedUpstream>;
}

export interface SessionOptions {
  readonly driver: GatewayDriver;
  readonly clock: Clock;
  readonly random: () => number;
  readonly backoff: Backoff;
  readonly log: Logger;
  /** Time between two full lists while all is well, in milliseconds. */
  readonly resyncMs: number;
  /** Runs a request within the connection's requests per second. */
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  /** Asked right before each write; when it says no, `closed` is true and the write is not begun. */
  readonly mayWrite: () => boolean;
  readonly onList: (report: ListReport) => void;
  /** A read-back showed that the gateway no longer contains as `id` what this session wrote there. */
  readonly onLateWrite: (id: UpstreamId, observed: ObservedUpstream | undefined) => void;
  /** Data planes confirmed or rejected what was written as `id`. */
  readonly onConfirmation?: (id: UpstreamId) => void;
  /** Whether an object wants `id`: only its drift is recorded. */
  readonly isWanted: (id: UpstreamId) => boolean;
  /** `everything`: what its objects can expect changed; `connection`: only what is reported of itself. */
  readonly onState: (scope: 'everything' | 'connection') => void;
  /** The gateway answered a write, or did not. */
  readonly onWrite?: (operation: WriteOperation, outcome: 'accepted' | Reason) => void;
  /** A request failed. */
  readonly onError?: (reason: Reason) => void;
}

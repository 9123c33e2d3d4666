import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { Lease } from './lease.ts';

export interface LeaseObserverOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly namespace: string;
  readonly leaseName: string;
  readonly identity: string;
  readonly leaseDurationMs: number;
}

/** What a standby knows of the lease. */
interface Seen {
  /** Undefined while there is no Lease. */
  readonly version: string | undefined;
  /** Monotonic time at which this process saw that version first. */
  readonly at: number;
  /** Empty if the lease is free. */
  readonly holder: string;
  readonly durationMs: number;
}

/**
 * What a standby knows of the lease.
 *
 * Clocks of two machines are never compared: whether another's lease has expired is judged by the time that passed here
 * since its record changed last.
 */
export class LeaseObserver {
  readonly #options: LeaseObserverOptions;
  #seen: Seen | undefined;

  constructor(options: LeaseObserverOptions) {
    this.#options = options;
  }

  /** Who had the Lease when it was read last. Empty if it was free, or has not been read. */
  get holder(): string {
    return this.#seen?.holder ?? '';
  }

  /** Takes note of the Lease as it was read. Returns whether this process may take it. */
  observe(lease: Lease | undefined): boolean {
    const before = this.#seen;
    const version = lease?.metadata.resourceVersion;
    if (before !== undefined && before.version === version) return this.#isFree(before);
    const seen = this.#seenIn(lease, before);
    this.#seen = seen;
    this.#logStandby(seen, before);
    return this.#isFree(seen);
  }

  /** For what a standby waits. */
  waitsFor(): string {
    const { namespace, leaseName, identity } = this.#options;
    if (this.#seen === undefined) return `the API server to return Lease ${namespace}/${leaseName}`;
    const { holder, durationMs } = this.#seen;
    if (holder === '' || holder === identity) return `Lease ${namespace}/${leaseName}, which is free`;
    return `${holder} to release Lease ${namespace}/${leaseName} or to stop renewing it for ${durationMs / 1000} s`;
  }

  #seenIn(lease: Lease | undefined, before: Seen | undefined): Seen {
    const { clock, leaseDurationMs } = this.#options;
    const { holderIdentity, leaseDurationSeconds } = lease?.spec ?? {};
    return {
      version: lease?.metadata.resourceVersion,
      at: clock.monotonic(),
      // A deleted Lease may have a live leader: it creates the Lease again, and writes until then.
      holder: lease === undefined ? (before?.holder ?? '') : (holderIdentity ?? ''),
      // The holder's own value, since its settings may differ from this process's.
      durationMs:
        leaseDurationSeconds === undefined
          ? (before?.durationMs ?? leaseDurationMs)
          : leaseDurationSeconds * 1000,
    };
  }

  #logStandby({ holder }: Seen, before: Seen | undefined): void {
    const { log, leaseName, identity } = this.#options;
    if (holder === '' || holder === identity || holder === before?.holder) return;
    log.info({ lease: leaseName, identity, holder, waitsFor: this.waitsFor() }, 'standing by');
  }

  #isFree({ holder, at, durationMs }: Seen): boolean {
    const { clock, identity } = this.#options;
    return holder === '' || holder === identity || clock.monotonic() - at >= durationMs;
  }
}

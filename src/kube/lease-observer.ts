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

/** The Lease as this process last read it. */
interface Observed {
  /** Undefined while the Lease does not exist. */
  readonly version: string | undefined;
  /** Monotonic time at which this process first read that version. */
  readonly at: number;
  /** Empty if the lease is free. */
  readonly holder: string;
  readonly durationMs: number;
}

/**
 * Decides whether a standby may acquire the lease.
 *
 * It never compares the clocks of two machines. The lease has expired if the Lease object has not changed for its duration,
 * measured on this machine.
 */
export class LeaseObserver {
  readonly #options: LeaseObserverOptions;
  #last: Observed | undefined;

  constructor(options: LeaseObserverOptions) {
    this.#options = options;
  }

  /** Holder of the Lease when it was last read. Empty if it was free or has not been read. */
  get holder(): string {
    return this.#last?.holder ?? '';
  }

  /** Records a read of the Lease. Returns whether this process may acquire it. */
  observe(lease: Lease | undefined): boolean {
    const before = this.#last;
    const version = lease?.metadata.resourceVersion;
    if (before !== undefined && before.version === version) return this.#isFree(before);
    const observed = this.#observedIn(lease, before);
    this.#last = observed;
    this.#logStandby(observed, before);
    return this.#isFree(observed);
  }

  /** What a standby waits for, as the rest of `waiting for ...`. */
  waitsFor(): string {
    const { namespace, leaseName, identity } = this.#options;
    if (this.#last === undefined) return `the API server to return Lease ${namespace}/${leaseName}`;
    const { holder, durationMs } = this.#last;
    if (holder === '' || holder === identity) return `Lease ${namespace}/${leaseName}, which is free`;
    return `${holder} to release Lease ${namespace}/${leaseName} or to stop renewing it for ${durationMs / 1000} s`;
  }

  #observedIn(lease: Lease | undefined, before: Observed | undefined): Observed {
    const { clock, leaseDurationMs } = this.#options;
    const { holderIdentity, leaseDurationSeconds } = lease?.spec ?? {};
    return {
      version: lease?.metadata.resourceVersion,
      at: clock.monotonic(),
      // If the Lease was deleted, its holder may still be running. It writes, and creates the Lease again.
      holder: lease === undefined ? (before?.holder ?? '') : (holderIdentity ?? ''),
      // The holder's duration, because its configuration may differ.
      durationMs:
        leaseDurationSeconds === undefined
          ? (before?.durationMs ?? leaseDurationMs)
          : leaseDurationSeconds * 1000,
    };
  }

  #logStandby({ holder }: Observed, before: Observed | undefined): void {
    const { log, leaseName, identity } = this.#options;
    if (holder === '' || holder === identity || holder === before?.holder) return;
    log.info({ lease: leaseName, identity, holder, waitsFor: this.waitsFor() }, 'standing by');
  }

  #isFree({ holder, at, durationMs }: Observed): boolean {
    const { clock, identity } = this.#options;
    return holder === '' || holder === identity || clock.monotonic() - at >= durationMs;
  }
}

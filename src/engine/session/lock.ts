import type { GatewayDriver } from '../../gateways/driver.ts';
import type { OwnerMark } from '../../model/ownership.ts';
import type { ObservedUpstream, Upstream, UpstreamNode } from '../../model/upstream.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Requests } from './requests.ts';
import type { Slot, Slots } from './slot.ts';
import type { WriteGate } from './write-gate.ts';

/**
 * How long an id counts as free after the gateway did not contain it. Another client may create an upstream with this id at any
 * time, and the operator must not overwrite it.
 */
const ABSENCE_TRUSTED_MS = 10_000;
/** Never aborts. */
const UNTIL_ANSWERED = new AbortController().signal;

/** Dependencies of a lock, provided by its session. */
export interface LockDeps {
  readonly driver: GatewayDriver;
  readonly clock: Clock;
  readonly slots: Slots;
  readonly requests: Requests;
  readonly writes: WriteGate;
  /** When the last complete list was requested (monotonic). */
  readonly listedAt: () => number | undefined;
}

/** Exclusive access to one upstream id of one gateway. */
export class Lock {
  readonly #deps: LockDeps;
  readonly #slot: Slot;

  constructor(deps: LockDeps, slot: Slot) {
    this.#deps = deps;
    this.#slot = slot;
  }

  /**
   * Returns the gateway's content, from memory or with a GET. Absence is trusted only if it was observed after `wantedSince`
   * (monotonic), so that an upstream that another client created before is never overlooked.
   */
  async read(wantedSince: number, signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    const { content, knownAt, isUncertain } = this.#slot;
    if (content !== undefined && !isUncertain) return content;
    const now = this.#deps.clock.monotonic();
    const absentAt = isUncertain ? undefined : (knownAt ?? this.#deps.listedAt());
    if (absentAt !== undefined && absentAt >= wantedSince && now - absentAt < ABSENCE_TRUSTED_MS) {
      return undefined;
    }
    return await this.readFresh(signal);
  }

  /** Returns the gateway's content with a GET. */
  async readFresh(signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    const { driver, clock, requests, slots } = this.#deps;
    const now = clock.monotonic();
    const content = await requests.send(signal, (both) => driver.get(this.#slot.id, both));
    slots.learn(this.#slot, content, now);
    return content;
  }

  /** Replaces the upstream, whose id is the id of this lock. */
  async put(upstream: Upstream, signal: AbortSignal): Promise<ObservedUpstream> {
    // An aborted write may still take effect and undo the next write, so the lock waits for its response. The driver's own
    // timeout ends the request.
    return await this.#write(signal, (driver) => driver.put(upstream, UNTIL_ANSWERED));
  }

  /** Replaces only the nodes. Returns undefined if the upstream does not exist. */
  async putNodes(nodes: readonly UpstreamNode[], signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    return await this.#write(signal, (driver) => driver.putNodes(this.#slot.id, nodes, UNTIL_ANSWERED));
  }

  /** Changes only the ownership mark. Returns undefined if the upstream does not exist. */
  async mark(owner: OwnerMark, signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    return await this.#write(signal, (driver) => driver.mark(this.#slot.id, owner, UNTIL_ANSWERED));
  }

  async delete(references: 'respect' | 'ignore', signal: AbortSignal): Promise<void> {
    const { driver, writes, slots, clock } = this.#deps;
    const { id } = this.#slot;
    await writes.write('delete', this.#slot, signal, (both) => driver.delete(id, { references }, both));
    slots.learn(this.#slot, undefined, clock.monotonic());
  }

  async #write<T extends ObservedUpstream | undefined>(
    signal: AbortSignal,
    write: (driver: GatewayDriver) => Promise<T>,
  ): Promise<T> {
    const { driver, writes, slots, clock } = this.#deps;
    const content = await writes.write('put', this.#slot, signal, () => write(driver));
    slots.learn(this.#slot, content, clock.monotonic());
    return content;
  }
}

import type { GatewayDriver } from '../../gateways/driver.ts';
import type { OwnerMark } from '../../model/ownership.ts';
import type { ObservedUpstream, Upstream, UpstreamNode } from '../../model/upstream.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Requests } from './requests.ts';
import type { Slot, Slots } from './slot.ts';
import type { WriteGate } from './write-gate.ts';

/**
 * How long an id that the gateway did not have is taken for free. Another client may create an upstream of that id at any
 * time, and it must not be overwritten.
 */
const ABSENCE_TRUSTED_MS = 10_000;
/** Never aborts. */
const UNTIL_ANSWERED = new AbortController().signal;

/** What a lock needs of its session. */
export interface LockDeps {
  readonly driver: GatewayDriver;
  readonly clock: Clock;
  readonly slots: Slots;
  readonly requests: Requests;
  readonly writes: WriteGate;
  /** When the last complete list was asked for, on the monotonic clock. */
  readonly listedAt: () => number | undefined;
}

/** One id of one gateway, while nothing else touches it. */
export class Lock {
  readonly #deps: LockDeps;
  readonly #slot: Slot;

  constructor(deps: LockDeps, slot: Slot) {
    this.#deps = deps;
    this.#slot = slot;
  }

  /**
   * What the gateway contains: from what is known, or by asking. That it contains nothing is believed only if the gateway
   * was asked after `wantedSince` (monotonic): an upstream that another client created before is never overlooked.
   */
  async read(wantedSince: number, signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    const { content, knownAt, isUncertain } = this.#slot;
    if (content !== undefined && !isUncertain) return content;
    const now = this.#deps.clock.monotonic();
    const absentAt = isUncertain ? undefined : (knownAt ?? this.#deps.listedAt());
    if (absentAt !== undefined && absentAt >= wantedSince && now - absentAt < ABSENCE_TRUSTED_MS) {
      return undefined;
    }
    return await this.ask(signal);
  }

  /** What the gateway contains now, by asking. */
  async ask(signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    const { driver, clock, requests, slots } = this.#deps;
    const now = clock.monotonic();
    const content = await requests.send(signal, (both) => driver.get(this.#slot.id, both));
    slots.learn(this.#slot, content, now);
    return content;
  }

  /** Replaces the upstream, which has the id of this lock. */
  async put(upstream: Upstream, signal: AbortSignal): Promise<ObservedUpstream> {
    // A write that is cut off may still be carried out, and undo what the next writer did: its answer is waited for. The
    // driver's own time limit ends it.
    return await this.#write(signal, (driver) => driver.put(upstream, UNTIL_ANSWERED));
  }

  /** Replaces the nodes and nothing else; undefined if the gateway has no such upstream. */
  async putNodes(nodes: readonly UpstreamNode[], signal: AbortSignal): Promise<ObservedUpstream | undefined> {
    return await this.#write(signal, (driver) => driver.putNodes(this.#slot.id, nodes, UNTIL_ANSWERED));
  }

  /** Marks whose it is and changes nothing else; undefined if the gateway has no such upstream. */
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

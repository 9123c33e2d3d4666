import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';

/**
 * A write that got no response may still take effect for about this long and overwrite newer content. This includes writes of
 * an earlier leader or session.
 */
export const READ_BACK_MS = 60_000;

/** A session's state of one upstream id. */
export class Slot {
  readonly id: UpstreamId;
  /** Content at the last read or write; undefined if the upstream does not exist or is unknown. */
  content: ObservedUpstream | undefined = undefined;
  /** When this content was requested (monotonic); undefined if it is unknown. */
  knownAt: number | undefined = undefined;
  /** Sequence number of the last read or write of this id, in the order of all reads and writes of the session. */
  sequence = 0;
  /** Sequence number of a write with an unknown result; undefined if there is none. */
  uncertainSince: number | undefined = undefined;
  /** When the id is read back because a write got no response (monotonic). */
  readBackAt: number | undefined = undefined;
  /** Content of a used id before another client changed it, until the drift is reported. */
  drift: ObservedUpstream | undefined = undefined;
  /** Settles when the last queued user of the id has finished. */
  lock: Promise<unknown> | undefined = undefined;

  constructor(id: UpstreamId) {
    this.id = id;
  }

  /** Whether a read or write after `position` is newer than a list that started there. */
  isNewerThan(position: number): boolean {
    return this.sequence > position || (this.uncertainSince ?? 0) > position;
  }

  get isUncertain(): boolean {
    return this.uncertainSince !== undefined;
  }

  get isEmpty(): boolean {
    return (
      this.knownAt === undefined &&
      this.uncertainSince === undefined &&
      this.readBackAt === undefined &&
      this.drift === undefined &&
      this.lock === undefined
    );
  }
}

/** Creates, finds and drops the slots of a session. */
export class Slots {
  readonly #slots = new Map<UpstreamId, Slot>();
  /** Slots with a scheduled read-back, the earliest first. */
  readonly #readBacks = new Set<Slot>();
  readonly #isWanted: (id: UpstreamId) => boolean;
  #sequence = 0;

  /** `isWanted`: whether a GatewayUpstream uses the id. Drift of other ids is not kept. */
  constructor(isWanted: (id: UpstreamId) => boolean) {
    this.#isWanted = isWanted;
  }

  /** The latest sequence number. */
  get position(): number {
    return this.#sequence;
  }

  /** Whether a write that got no response may still take effect. */
  get isUnsettled(): boolean {
    return this.#readBacks.size > 0;
  }

  /** Time of the first scheduled read-back (monotonic). */
  get firstReadBackAt(): number {
    const [first] = this.#readBacks;
    return first?.readBackAt ?? Number.POSITIVE_INFINITY;
  }

  get(id: UpstreamId): Slot | undefined {
    return this.#slots.get(id);
  }

  /** Returns the slot of `id` and creates it if needed; see `dropIfEmpty`. */
  take(id: UpstreamId): Slot {
    let slot = this.#slots.get(id);
    if (slot === undefined) {
      slot = new Slot(id);
      this.#slots.set(id, slot);
    }
    return slot;
  }

  dropIfEmpty(slot: Slot): void {
    if (slot.isEmpty) this.#slots.delete(slot.id);
  }

  /** Number of ids with known content, and of ids with an unanswered write. */
  counts(): { readonly known: number; readonly uncertain: number } {
    let known = 0;
    let uncertain = 0;
    for (const slot of this.#slots.values()) {
      if (slot.knownAt !== undefined) known += 1;
      if (slot.isUncertain) uncertain += 1;
    }
    return { known, uncertain };
  }

  /** Resolves when all locks are released. */
  async unlocked(): Promise<void> {
    await Promise.allSettled([...this.#slots.values()].map(({ lock }) => lock));
  }

  /** Records `content` from the response to a request that was sent at `at`. */
  learn(slot: Slot, content: ObservedUpstream | undefined, at: number): void {
    this.#sequence += 1;
    slot.content = content;
    slot.sequence = this.#sequence;
    slot.knownAt = at;
    slot.uncertainSince = undefined;
  }

  /** Clears all contents, so that every id is read before it is written. */
  forgetContents(): void {
    for (const slot of this.#slots.values()) {
      slot.content = undefined;
      slot.knownAt = undefined;
      this.dropIfEmpty(slot);
    }
  }

  /** Records a write with an unknown result: it took effect, did not, or may do so later. Schedules a read-back. */
  noteUncertain(slot: Slot, now: number): void {
    this.#sequence += 1;
    slot.uncertainSince = this.#sequence;
    slot.readBackAt = now + READ_BACK_MS;
    // Re-adding moves the slot to the end, which keeps the set in time order.
    this.#readBacks.delete(slot);
    this.#readBacks.add(slot);
  }

  /** The slots whose read-back is due at `now`. */
  readBacksDue(now: number): readonly Slot[] {
    return [...this.#readBacks].filter(({ readBackAt = 0 }) => readBackAt <= now);
  }

  noteReadBack(slot: Slot): void {
    slot.readBackAt = undefined;
    this.#readBacks.delete(slot);
  }

  /** Returns and clears the drift of `id`. */
  takeDrift(id: UpstreamId): ObservedUpstream | undefined {
    const slot = this.#slots.get(id);
    if (slot === undefined) return undefined;
    const { drift } = slot;
    slot.drift = undefined;
    this.dropIfEmpty(slot);
    return drift;
  }

  /**
   * Replaces the known contents by a list that was requested at `askedAt`, except where a read or write is newer than
   * `before`, the position at which the list started. Returns the changed ids.
   */
  adopt(
    observed: ReadonlyMap<UpstreamId, ObservedUpstream>,
    before: number,
    askedAt: number,
  ): ReadonlySet<UpstreamId> {
    const changed = new Set<UpstreamId>();
    for (const slot of this.#slots.values()) {
      if (slot.knownAt === undefined || slot.isNewerThan(before) || observed.has(slot.id)) continue;
      if (slot.content !== undefined) {
        changed.add(slot.id);
        this.#noteDrift(slot, slot.content);
      }
      slot.content = undefined;
      slot.knownAt = undefined;
    }
    for (const [id, content] of observed) {
      const slot = this.take(id);
      if (!slot.isNewerThan(before) && this.#adoptOne(slot, content, askedAt)) changed.add(id);
    }
    this.#clear(before, askedAt);
    return changed;
  }

  /** Returns whether the content changed. */
  #adoptOne(slot: Slot, content: ObservedUpstream, askedAt: number): boolean {
    const known = slot.content;
    const isChanged = known?.canonical !== content.canonical;
    if (isChanged && known !== undefined && !slot.isUncertain) this.#noteDrift(slot, known);
    this.#sequence += 1;
    slot.sequence = this.#sequence;
    // Equal content is kept, because it shares its parts with the stored objects (see `GatewaySession.share`).
    if (isChanged || known?.createTime !== content.createTime) slot.content = content;
    slot.knownAt = askedAt;
    return isChanged;
  }

  /** Clears uncertainty that the list resolved, and drops empty slots. */
  #clear(before: number, askedAt: number): void {
    for (const slot of this.#slots.values()) {
      if (slot.uncertainSince !== undefined && slot.uncertainSince <= before) slot.uncertainSince = undefined;
      if (slot.readBackAt !== undefined && slot.readBackAt <= askedAt) this.noteReadBack(slot);
      if (slot.drift !== undefined && !this.#isWanted(slot.id)) slot.drift = undefined;
      this.dropIfEmpty(slot);
    }
  }

  /** Keeps the content before the first of several changes. */
  #noteDrift(slot: Slot, before: ObservedUpstream): void {
    if (slot.drift === undefined && this.#isWanted(slot.id)) slot.drift = before;
  }
}

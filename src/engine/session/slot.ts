import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';

/**
 * A write that got no answer, also one of an earlier leader or session, may be carried out until about this long
 * afterwards, over whatever was written since.
 */
export const READ_BACK_MS = 60_000;

/** Everything that a session keeps of one upstream id. */
export class Slot {
  readonly id: UpstreamId;
  /** What the gateway contained when it was read or written last; undefined: nothing, or it is not known. */
  content: ObservedUpstream | undefined = undefined;
  /** When that was asked for, on the monotonic clock; undefined: it is not known. */
  knownAt: number | undefined = undefined;
  /** Position of that in the order of everything that the session learned. */
  sequence = 0;
  /** Position of a write that may or may not have happened; undefined: there is none. */
  uncertainSince: number | undefined = undefined;
  /** When the id is read again because a write of it got no answer, on the monotonic clock. */
  readBackAt: number | undefined = undefined;
  /** What a wanted id contained before another client changed it, until that is reported. */
  drift: ObservedUpstream | undefined = undefined;
  /** Settles when the last of those that wait for the id is done with it. */
  lock: Promise<unknown> | undefined = undefined;

  constructor(id: UpstreamId) {
    this.id = id;
  }

  /** Whether it was learned or written after `position`, so that a list of that time says nothing of it. */
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

/** The slots of a session: the one place that creates and drops them. */
export class Slots {
  readonly #slots = new Map<UpstreamId, Slot>();
  /** Slots that are read again, the earliest first. */
  readonly #readBacks = new Set<Slot>();
  readonly #isWanted: (id: UpstreamId) => boolean;
  #sequence = 0;

  /** `isWanted`: whether an object wants the id; only its drift is kept. */
  constructor(isWanted: (id: UpstreamId) => boolean) {
    this.#isWanted = isWanted;
  }

  /** Position of what was learned last. */
  get position(): number {
    return this.#sequence;
  }

  /** Whether a write that got no answer may still be carried out. */
  get isUnsettled(): boolean {
    return this.#readBacks.size > 0;
  }

  /** When the first slot is read again, on the monotonic clock. */
  get firstReadBackAt(): number {
    const [first] = this.#readBacks;
    return first?.readBackAt ?? Number.POSITIVE_INFINITY;
  }

  get(id: UpstreamId): Slot | undefined {
    return this.#slots.get(id);
  }

  /** The slot of `id`, which is created where there is none; see `dropIfEmpty`. */
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

  /** How many ids are known, and of how many it is not known what the gateway contains. */
  counts(): { readonly known: number; readonly uncertain: number } {
    let known = 0;
    let uncertain = 0;
    for (const slot of this.#slots.values()) {
      if (slot.knownAt !== undefined) known += 1;
      if (slot.isUncertain) uncertain += 1;
    }
    return { known, uncertain };
  }

  /** Resolves when nothing is done with any id any more. */
  async unlocked(): Promise<void> {
    await Promise.allSettled([...this.#slots.values()].map(({ lock }) => lock));
  }

  /** The gateway contains `content`, by an answer to a request of time `at`. */
  learn(slot: Slot, content: ObservedUpstream | undefined, at: number): void {
    this.#sequence += 1;
    slot.content = content;
    slot.sequence = this.#sequence;
    slot.knownAt = at;
    slot.uncertainSince = undefined;
  }

  /** What the gateway contains is not known any more: every id is read before it is written. */
  forgetContents(): void {
    for (const slot of this.#slots.values()) {
      slot.content = undefined;
      slot.knownAt = undefined;
      this.dropIfEmpty(slot);
    }
  }

  /** A write was carried out or not, or will be later: only the gateway can tell. */
  noteUncertain(slot: Slot, now: number): void {
    this.#sequence += 1;
    slot.uncertainSince = this.#sequence;
    slot.readBackAt = now + READ_BACK_MS;
    // Last in the order of the set, which is that of time.
    this.#readBacks.delete(slot);
    this.#readBacks.add(slot);
  }

  /** The slots that are to be read again by now. */
  readBacksDue(now: number): readonly Slot[] {
    return [...this.#readBacks].filter(({ readBackAt = 0 }) => readBackAt <= now);
  }

  noteReadBack(slot: Slot): void {
    slot.readBackAt = undefined;
    this.#readBacks.delete(slot);
  }

  /** The drift of `id`, once. */
  takeDrift(id: UpstreamId): ObservedUpstream | undefined {
    const slot = this.#slots.get(id);
    if (slot === undefined) return undefined;
    const { drift } = slot;
    slot.drift = undefined;
    this.dropIfEmpty(slot);
    return drift;
  }

  /**
   * Takes a list that was asked for at `askedAt` for what is known, except for what was learned after the list began,
   * at position `before`.
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
    // Equal content is kept, since it shares its parts with the stored objects.
    if (isChanged || known?.createTime !== content.createTime) slot.content = content;
    slot.knownAt = askedAt;
    return isChanged;
  }

  /** Clears what the list settled, and drops the slots of which nothing is left. */
  #clear(before: number, askedAt: number): void {
    for (const slot of this.#slots.values()) {
      if (slot.uncertainSince !== undefined && slot.uncertainSince <= before) slot.uncertainSince = undefined;
      if (slot.readBackAt !== undefined && slot.readBackAt <= askedAt) this.noteReadBack(slot);
      if (slot.drift !== undefined && !this.#isWanted(slot.id)) slot.drift = undefined;
      this.dropIfEmpty(slot);
    }
  }

  /** Of several changes in a row, the content before the first counts. */
  #noteDrift(slot: Slot, before: ObservedUpstream): void {
    if (slot.drift === undefined && this.#isWanted(slot.id)) slot.drift = before;
  }
}

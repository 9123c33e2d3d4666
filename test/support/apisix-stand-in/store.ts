export type JsonObject = Record<string, unknown>;

/** One key of the store, in the form of the Admin API. */
export interface StoredItem {
  readonly key: string;
  readonly value: JsonObject;
  readonly createdIndex: number;
  readonly modifiedIndex: number;
}

export interface StoreReader {
  /** The same object until the next write of the key. */
  get(resource: string, id: string): StoredItem | undefined;
  /** Ordered by key, like a range read of etcd. */
  list(resource: string): readonly StoredItem[];
}

/** The content of etcd. The revision counts every write of any key. Keys with a lease disappear when it expires. */
export interface Store extends StoreReader {
  set(
    resource: string,
    id: string,
    value: JsonObject,
    options: { readonly ttlSeconds?: number | undefined },
  ): { readonly item: StoredItem; readonly created: boolean };
  delete(resource: string, id: string): boolean;
  /** A new id of 20 digits. By source, it is the revision of a separate write. */
  generateId(): string;
  wipe(): void;
  /** A snapshot of the current content. */
  snapshot(): StoreReader;
  /** A backup for `restore`. */
  save(): SavedStore;
  restore(saved: SavedStore): void;
}

/** The content of a backup. */
export interface SavedStore {
  readonly resources: ReadonlyMap<string, ReadonlyMap<string, Entry>>;
  readonly revision: number;
}

interface Entry extends StoredItem {
  readonly expiresAt: number;
}

/** `now` is in seconds. */
export function createStore(now: () => number): Store {
  const resources = new Map<string, Map<string, Entry>>();
  let revision = 0;

  function entriesOf(resource: string): Map<string, Entry> {
    const entries = resources.get(resource) ?? new Map<string, Entry>();
    resources.set(resource, entries);
    return entries;
  }

  /** Reads only one entry, so that the cost of a write does not depend on the number of entries. */
  function live(resource: string, id: string): Entry | undefined {
    const entries = entriesOf(resource);
    const entry = entries.get(id);
    if (entry === undefined || entry.expiresAt > now()) return entry;
    entries.delete(id);
    return undefined;
  }

  const allLive = (resource: string): readonly (readonly [string, Entry])[] =>
    [...entriesOf(resource).keys()].flatMap((id) => {
      const entry = live(resource, id);
      return entry === undefined ? [] : [[id, entry] as const];
    });

  const sorted = (entries: Iterable<StoredItem>): readonly StoredItem[] =>
    [...entries].sort((a, b) => (a.key < b.key ? -1 : 1));

  return {
    get: live,
    list: (resource) => sorted(allLive(resource).map(([, entry]) => entry)),
    snapshot() {
      const kept = new Map([...resources.keys()].map((resource) => [resource, new Map(allLive(resource))]));
      return {
        get: (resource, id) => kept.get(resource)?.get(id),
        list: (resource) => sorted(kept.get(resource)?.values() ?? []),
      };
    },
    set(resource, id, value, { ttlSeconds }) {
      const previous = live(resource, id);
      revision += 1;
      const item: Entry = {
        key: `/apisix/${resource}/${id}`,
        value: structuredClone(value),
        createdIndex: previous?.createdIndex ?? revision,
        modifiedIndex: revision,
        expiresAt: ttlSeconds === undefined ? Number.POSITIVE_INFINITY : now() + ttlSeconds,
      };
      entriesOf(resource).set(id, item);
      return { item, created: previous === undefined };
    },
    delete(resource, id) {
      const existed = live(resource, id) !== undefined && entriesOf(resource).delete(id);
      if (existed) revision += 1;
      return existed;
    },
    generateId() {
      revision += 1;
      return String(revision).padStart(20, '0');
    },
    wipe() {
      resources.clear();
      revision = 0;
    },
    // Entries are replaced and never modified.
    save: () => ({
      resources: new Map([...resources].map(([resource, entries]) => [resource, new Map(entries)])),
      revision,
    }),
    restore(saved) {
      resources.clear();
      for (const [resource, entries] of saved.resources) resources.set(resource, new Map(entries));
      revision = saved.revision;
    },
  };
}

/** The least that every stored object has. */
export interface Stored {
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export type StoreState =
  /** Not listed in full yet: what is missing here says nothing. `problem`: why the first list failed. */
  | { readonly state: 'syncing'; readonly problem?: string }
  /** Listed in full at least once and followed since. */
  | { readonly state: 'synced' }
  /** The API server does not serve this kind (its CRD is not installed). Noticed when it appears. */
  | { readonly state: 'absent' };

export interface StoreEvent<T> {
  readonly previous: T | undefined;
  readonly current: T | undefined;
}

/** What controllers and sources see of a cache: reads only. */
export interface StoreView<T extends Stored> {
  readonly state: StoreState;
  readonly size: number;
  /** `namespace` is empty for cluster-scoped objects. */
  get(namespace: string, name: string): T | undefined;
  list(): IterableIterator<T>;
  /** Objects whose index function returned `value`. */
  byIndex(index: string, value: string): readonly T[];
  /** Called after the store holds the change; a listener that throws is reported and the others still run. */
  onChange(listener: (event: StoreEvent<T>) => void): Disposable;
  /** Called whenever `state` changed. */
  onState(listener: (state: StoreState) => void): Disposable;
}

/** The fields that every stored object has. */
export interface Stored {
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export type StoreState =
  /** Not listed completely yet: a missing object may exist. `problem`: why the first list failed. */
  | { readonly state: 'syncing'; readonly problem?: string }
  /** Listed completely once, and watched since. */
  | { readonly state: 'synced' }
  /** The API server does not serve this kind, because its CRD is not installed. The state changes when it is. */
  | { readonly state: 'absent' };

export interface StoreEvent<T> {
  readonly previous: T | undefined;
  readonly current: T | undefined;
}

/** Read access to a cache, for controllers and sources. */
export interface StoreView<T extends Stored> {
  readonly state: StoreState;
  readonly size: number;
  /** `namespace` is empty for cluster-scoped objects. */
  get(namespace: string, name: string): T | undefined;
  list(): IterableIterator<T>;
  /** Objects for which the index function returned `value`. */
  byIndex(index: string, value: string): readonly T[];
  /** Calls `listener` after the store contains the change. If a listener throws, the error is reported and the others still run. */
  onChange(listener: (event: StoreEvent<T>) => void): Disposable;
  /** Calls `listener` after `state` changed. */
  onState(listener: (state: StoreState) => void): Disposable;
}

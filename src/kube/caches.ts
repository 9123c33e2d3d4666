import type { FollowedResource } from '../model/followed-resource.ts';
import type { Stored, StoreView } from '../model/store-view.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { createMultiNamespaceCache } from './multi-namespace-cache.ts';
import { createReflector, type Reflector } from './reflector.ts';
import { isServed } from './served.ts';
import { createStore, type ObjectFailure, type ObjectStep } from './store.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

export interface CachesOptions {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** The watched namespaces. Empty: all. */
  readonly namespaces: readonly string[];
  /** Called for each step that threw for one object. `watch` is the name of the reflector. */
  readonly onObjectFailure: (watch: string, step: ObjectStep) => void;
}

/** Creates the store and the reflectors of each watched kind. */
export interface Caches {
  /** Watches a kind: in the whole cluster, or in every watched namespace if the kind is namespaced. */
  watch<T extends Stored>(kind: FollowedResource<T>): StoreView<T>;
  /** Watches a kind in one namespace. */
  watchIn<T extends Stored>(namespace: string, kind: FollowedResource<T>): StoreView<T>;
  /** One per watched collection. The caller starts them. */
  readonly reflectors: readonly Reflector[];
}

const OBJECT_FAILURES: Readonly<Record<ObjectStep, string>> = {
  read: 'cannot read an object; its last known version stays in use',
  compare: 'cannot compare an object with its last known version; it is processed as changed',
  index: 'cannot index an object; it may not see changes of objects that it refers to until the next resync',
  notify: 'cannot process the change of an object',
};

export function createCaches(options: CachesOptions): Caches {
  const { transport, clock, random, namespaces } = options;
  const reflectors: Reflector[] = [];

  const watchCollection = <T extends Stored>(
    { group, version, plural, indexes, query = {}, ...kind }: FollowedResource<T>,
    namespace: string | undefined,
  ): StoreView<T> => {
    const { name: called = plural, olderVersion, optional = false, transform, unreadable, maxValues } = kind;
    const resource = { group, version, plural, ...(namespace === undefined ? {} : { namespace }) };
    const name = namespace === undefined ? called : `${called} in ${namespace}`;
    const log = options.log.child({ kind: name });
    const reportError = (err: unknown, { step, object }: ObjectFailure) => {
      options.onObjectFailure(name, step);
      log.error({ err, object, step }, OBJECT_FAILURES[step]);
    };
    const store = createStore<T>({ indexes, reportError });
    reflectors.push(
      createReflector({
        name,
        transport,
        paths: [
          resourcePath(resource),
          ...(olderVersion === undefined ? [] : [resourcePath({ ...resource, version: olderVersion })]),
        ],
        query,
        transform,
        unreadable,
        maxValues,
        reportError,
        store,
        ...(optional ? { isServed: (signal: AbortSignal) => isServed(transport, resource, signal) } : {}),
        clock,
        random,
        log,
      }),
    );
    return store;
  };

  return {
    reflectors,
    watch(kind) {
      if (kind.scope === 'Cluster' || namespaces.length === 0) return watchCollection(kind, undefined);
      return createMultiNamespaceCache(
        new Map(namespaces.map((namespace) => [namespace, watchCollection(kind, namespace)])),
      );
    },
    watchIn: (namespace, kind) => watchCollection(kind, namespace),
  };
}

import type { Stored, StoreView } from '../model/store-view.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { createUnionView } from './multi-namespace-cache.ts';
import { createReflector, type Reflector } from './reflector.ts';
import { isServed } from './served.ts';
import { createStore, type ObjectFailure, type ObjectStep } from './store.ts';
import { type KubeTransport, type ResourceAddress, resourcePath } from './transport.ts';

export interface FollowerOptions {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  /** The only namespaces in which namespaced kinds are followed. Empty: all. */
  readonly namespaces: readonly string[];
  /** Told of each step that threw for one object of the watch of that name. */
  readonly onObjectFailure: (watch: string, step: ObjectStep) => void;
}

export interface Followed<T> {
  /** What it is called in the log and by readiness. Default: the plural of its resource. */
  readonly name?: string;
  /** Where the kind is: a collection of the whole cluster, or of the `namespace` that it names. */
  readonly resource: ResourceAddress;
  /** An older version of the same shape, followed where `resource.version` is not served. */
  readonly olderVersion?: string;
  /** The kind need not be installed. */
  readonly optional?: boolean;
  readonly trim: (raw: unknown) => T | undefined;
  /** As in `ReflectorOptions`. */
  readonly maxValues?: number;
  /** As in `ReflectorOptions`. */
  readonly unreadable?: (raw: unknown, why: string) => T | undefined;
  readonly indexes?: Readonly<Record<string, (object: T) => readonly string[]>>;
  /** Label and field selectors. */
  readonly query?: Readonly<Record<string, string>>;
}

/** Makes a store and its reflectors for each kind that is asked for. */
export interface Caches {
  /** One collection. */
  follow<T extends Stored>(followed: Followed<T>): StoreView<T>;
  /** A namespaced kind in every namespace that the operator looks at. */
  followNamespaced<T extends Stored>(followed: Followed<T>): StoreView<T>;
  /** One per collection that is followed so far; nobody has started them. */
  readonly reflectors: readonly Reflector[];
}

const OBJECT_FAILURES: Readonly<Record<ObjectStep, string>> = {
  read: 'an object cannot be read: what was known of it is kept',
  compare: 'an object cannot be compared with what was known of it: it counts as changed',
  index: 'an object cannot be indexed: changes of what it refers to may not reach it before the next resync',
  notify: 'a listener failed',
};

export function createCaches(options: FollowerOptions): Caches {
  const { transport, clock, random, namespaces } = options;
  const reflectors: Reflector[] = [];

  const follow = <T extends Stored>({
    resource,
    name: kind = resource.plural,
    olderVersion,
    optional = false,
    trim,
    unreadable,
    maxValues,
    indexes = {},
    query = {},
  }: Followed<T>): StoreView<T> => {
    const { namespace } = resource;
    const name = namespace === undefined ? kind : `${kind} in ${namespace}`;
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
        trim,
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
    follow,
    followNamespaced(followed) {
      if (namespaces.length === 0) return follow(followed);
      return createUnionView(
        new Map(
          namespaces.map((namespace) => [
            namespace,
            follow({ ...followed, resource: { ...followed.resource, namespace } }),
          ]),
        ),
      );
    },
  };
}

import type { Departed, RemovalCause } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';

/** Per service. What is forgotten counts as never listed. */
const MAX_REMEMBERED = 1000;

/** The endpoints of instances for a backend with `options`. */
type EndpointsOf<Instance> = (instances: readonly Instance[], options: unknown) => readonly Endpoint[];

type AtAddress = Extract<Departed, { kind: 'address' }>;

/** The instances that one service no longer lists, as they were when it last listed them. */
export class RemovedInstances<Instance> {
  readonly #endpointsOf: EndpointsOf<Instance>;
  /** By address and port for a backend without options. */
  #listed: ReadonlyMap<string, readonly Instance[]> = new Map();
  /** Like `#listed`. The latest come last. */
  readonly #removed = new Map<string, readonly Instance[]>();
  /** Whether everything that the service last listed was terminating; undefined while it lists something. */
  #allTerminating: boolean | undefined;
  /** Endpoints by address: those of `#removed` by the options of a backend, and all that are listed. */
  readonly #views = new Map<string, ReadonlyMap<string, readonly Endpoint[]>>();

  constructor(endpointsOf: EndpointsOf<Instance>) {
    this.#endpointsOf = endpointsOf;
  }

  /** Takes the next complete answer. */
  note(instances: readonly Instance[]): void {
    const next = Map.groupBy(instances, (instance) => this.#placeOf(instance));
    for (const [place, before] of this.#listed) {
      if (next.has(place)) continue;
      this.#removed.delete(place);
      this.#removed.set(place, before);
    }
    for (const place of next.keys()) this.#removed.delete(place);
    for (const place of this.#removed.keys()) {
      if (this.#removed.size <= MAX_REMEMBERED) break;
      this.#removed.delete(place);
    }
    if (next.size > 0) this.#allTerminating = undefined;
    else if (this.#listed.size > 0) {
      this.#allTerminating = this.#endpoints(this.#listed).every(({ terminating }) => terminating);
    }
    this.#listed = next;
    this.#views.clear();
  }

  /** `isCurrent`: the last answer that was noted still holds. */
  cause(departed: Departed, options: unknown, isCurrent: boolean): RemovalCause {
    switch (departed.kind) {
      case 'address': {
        // A backend asks only for what it does not use: its filters, or the policy of the registry, leave the instance out.
        if (isCurrent && departed.port !== undefined && this.#areListed(departed)) return 'explained';
        const gone = endpointsAt(this.#view(this.#removed, options), departed);
        return gone.length === 0 ? 'unknown' : causeOf(gone.every(({ terminating }) => terminating));
      }
      case 'all':
        return this.#allTerminating === undefined ? 'unknown' : causeOf(this.#allTerminating);
      case 'node':
        return 'unknown';
      default:
        return departed satisfies never;
    }
  }

  #areListed(departed: AtAddress): boolean {
    return endpointsAt(this.#view(this.#listed, undefined), departed).length > 0;
  }

  #view(
    instances: ReadonlyMap<string, readonly Instance[]>,
    options: unknown,
  ): ReadonlyMap<string, readonly Endpoint[]> {
    const key = `${instances === this.#listed ? 'listed' : 'removed'} ${JSON.stringify(options ?? null)}`;
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const view = Map.groupBy(this.#endpoints(instances, options), ({ address }) => address);
    this.#views.set(key, view);
    return view;
  }

  #endpoints(instances: ReadonlyMap<string, readonly Instance[]>, options?: unknown): readonly Endpoint[] {
    return this.#endpointsOf([...instances.values()].flat(), options);
  }

  #placeOf(instance: Instance): string {
    const [endpoint] = this.#endpointsOf([instance], undefined);
    return `${endpoint?.address} ${endpoint?.port}`;
  }
}

function endpointsAt(
  view: ReadonlyMap<string, readonly Endpoint[]>,
  { address, port, portKey }: AtAddress,
): readonly Endpoint[] {
  const portOf = (endpoint: Endpoint) =>
    portKey === undefined ? endpoint.port : Number(endpoint.metadata?.[portKey]);
  return (view.get(address) ?? []).filter((endpoint) => port === undefined || portOf(endpoint) === port);
}

function causeOf(wasTerminating: boolean): RemovalCause {
  return wasTerminating ? 'explained' : 'vanished';
}

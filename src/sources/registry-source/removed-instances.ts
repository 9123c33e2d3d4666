import type { Departed, RemovalCause } from '../../model/discovered.ts';
import type { Endpoint } from '../../model/endpoint.ts';
import type { RegistryProtocol } from './protocol.ts';
import { Views } from './views.ts';

/** Per service. What is forgotten counts as never listed. */
const MAX_REMEMBERED = 1000;
/** Of all instances that are remembered of one service, as JSON: who registers an instance chooses its tags and metadata. */
const MAX_REMEMBERED_CHARACTERS = 256 * 1024;

type InstanceOptions<Instance> = Pick<RegistryProtocol<Instance, unknown>, 'endpoints' | 'placeOptions'>;

type ByAddress = ReadonlyMap<string, readonly Endpoint[]>;

/** What was last listed at one address and port. */
interface Removed<Instance> {
  readonly instances: readonly Instance[];
  readonly characters: number;
}

type AtAddress = Extract<Departed, { kind: 'address' }>;

/** The instances that one service no longer lists, as they were when it last listed them. */
export class RemovedInstances<Instance> {
  readonly #protocol: InstanceOptions<Instance>;
  /** By address and port for a backend without options. */
  #listed: ReadonlyMap<string, readonly Instance[]> = new Map();
  /** Like `#listed`. The latest come last. */
  readonly #removed = new Map<string, Removed<Instance>>();
  #removedCharacters = 0;
  /** Whether everything that the service last listed was terminating; undefined while it lists something. */
  #allTerminating: boolean | undefined;
  /** All that are listed, by the options that decide where a backend uses an instance. */
  readonly #listedViews = new Views<ByAddress>();
  /** By the options of a backend. */
  readonly #removedViews = new Views<ByAddress>();

  constructor(protocol: InstanceOptions<Instance>) {
    this.#protocol = protocol;
  }

  /** Takes the next complete answer. */
  note(instances: readonly Instance[]): void {
    const next = Map.groupBy(instances, (instance) => this.#placeOf(instance));
    for (const [place, before] of this.#listed) {
      if (next.has(place)) continue;
      this.#remember(place, before);
    }
    for (const place of next.keys()) this.#forget(place);
    for (const place of this.#removed.keys()) {
      const isTooMuch =
        this.#removed.size > MAX_REMEMBERED || this.#removedCharacters > MAX_REMEMBERED_CHARACTERS;
      if (!isTooMuch) break;
      this.#forget(place);
    }
    if (next.size > 0) this.#allTerminating = undefined;
    else if (this.#listed.size > 0) {
      this.#allTerminating = this.#protocol
        .endpoints([...this.#listed.values()].flat(), undefined)
        .every(({ terminating }) => terminating);
    }
    this.#listed = next;
    this.#listedViews.clear();
    this.#removedViews.clear();
  }

  /** `isCurrent`: the last answer that was noted still holds. */
  cause(departed: Departed, options: unknown, isCurrent: boolean): RemovalCause {
    switch (departed.kind) {
      case 'address': {
        // A backend asks only for what it does not use: its filters, or the policy of the registry, leave the instance out.
        if (isCurrent && departed.port !== undefined && this.#areListed(departed, options))
          return 'explained';
        const gone = endpointsAt(this.#removedView(options), departed);
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

  #areListed(departed: AtAddress, options: unknown): boolean {
    const placing = this.#protocol.placeOptions(options);
    const view = this.#listedViews.get(placing, () =>
      byAddress(this.#protocol.endpoints([...this.#listed.values()].flat(), placing)),
    );
    return endpointsAt(view, departed).length > 0;
  }

  #removedView(options: unknown): ByAddress {
    return this.#removedViews.get(options, () => {
      const instances = [...this.#removed.values()].flatMap((removed) => removed.instances);
      return byAddress(this.#protocol.endpoints(instances, options));
    });
  }

  #remember(place: string, instances: readonly Instance[]): void {
    this.#forget(place);
    const characters = JSON.stringify(instances).length;
    this.#removed.set(place, { instances, characters });
    this.#removedCharacters += characters;
  }

  #forget(place: string): void {
    this.#removedCharacters -= this.#removed.get(place)?.characters ?? 0;
    this.#removed.delete(place);
  }

  #placeOf(instance: Instance): string {
    const [endpoint] = this.#protocol.endpoints([instance], undefined);
    return `${endpoint?.address} ${endpoint?.port}`;
  }
}

function byAddress(endpoints: readonly Endpoint[]): ByAddress {
  return Map.groupBy(endpoints, ({ address }) => address);
}

function endpointsAt(view: ByAddress, { address, port, portKey }: AtAddress): readonly Endpoint[] {
  const portOf = (endpoint: Endpoint) =>
    portKey === undefined ? endpoint.port : Number(endpoint.metadata?.[portKey]);
  return (view.get(address) ?? []).filter((endpoint) => port === undefined || portOf(endpoint) === port);
}

function causeOf(wasTerminating: boolean): RemovalCause {
  return wasTerminating ? 'explained' : 'vanished';
}

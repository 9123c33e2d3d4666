import type { Place } from './places.ts';

/** What the registry lists, as the suite registered it. */

export type InstanceHealth = 'passing' | 'critical' | 'maintenance';

export interface Instance extends Place {
  readonly health: InstanceHealth;
  readonly weight: number;
}

/** A service of the registry. */
export interface RegisteredService {
  readonly name: string;
  instances: readonly Instance[];
  /** It has always had a passing instance since the last checkpoint. */
  steady: boolean;
  /** What the registry lost at its last restart; undefined once the service has changed since. */
  lost: Loss | undefined;
}

interface Loss {
  /** Monotonic, milliseconds. */
  readonly at: number;
  /** The places of the instances that were passing. */
  readonly places: ReadonlySet<string>;
}

/** How long the removal guard keeps instances that vanished: `vanishedHold` of the suite's ServiceRegistry. */
export const VANISHED_HOLD_MS = 5000;

export class Registered {
  readonly services = new Map<string, RegisteredService>();
  /** False from a restart, after which the registry is empty, until the instances are registered again. */
  isListed = true;

  /** Called before the write to the registry. */
  write(name: string, instances: readonly Instance[]): RegisteredService {
    const service = this.services.get(name) ?? { name, instances, steady: false, lost: undefined };
    this.services.set(name, service);
    Object.assign(service, { instances, lost: undefined });
    if (!hasPassing(service)) service.steady = false;
    return service;
  }

  /** Called before the registry restarts empty. */
  lose(at: number): void {
    this.isListed = false;
    for (const service of this.services.values()) {
      service.lost = { at, places: new Set(service.instances.filter(isPassing).map(placeKey)) };
      service.steady = false;
    }
  }

  /** Undefined if the service does not exist, or has no instance: the registry does not distinguish the two. */
  placesOf(name: string): readonly Place[] | undefined {
    const service = this.services.get(name);
    if (service === undefined || service.instances.length === 0) return undefined;
    return service.instances.filter(isPassing).map(({ host, port, weight }) => ({ host, port, weight }));
  }

  /** The places of this service that the removal guard must still keep, if it acts. */
  heldOf(name: string, now: number): ReadonlySet<string> {
    const { lost } = this.services.get(name) ?? {};
    return lost !== undefined && now < lost.at + VANISHED_HOLD_MS ? lost.places : new Set();
  }

  checkpoint(): void {
    for (const service of this.services.values()) {
      service.steady = hasPassing(service);
      service.lost = undefined;
    }
  }
}

export function placeKey({ host, port }: Place): string {
  return `${host}:${port}`;
}

function isPassing({ health }: Instance): boolean {
  return health === 'passing';
}

function hasPassing({ instances }: RegisteredService): boolean {
  return instances.some(isPassing);
}

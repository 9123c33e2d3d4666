import type { FloorHandlers } from './floor-process.ts';

/** An instance as the load registers it. */
export interface LoadInstance {
  readonly host: string;
  readonly port: number;
}

/** When a change took effect, on the monotonic clock. */
export interface Effect {
  /** No client can see the change before. */
  readonly from: number;
  /** The time of the registry's response, or the time when an instance expires. Latencies start here. */
  readonly at: number;
}

/** A real registry, with what the benchmark needs to know of its type. */
export interface LoadedRegistry extends AsyncDisposable {
  readonly type: string;
  readonly url: URL;
  /** The fields of a ServiceRegistry with this server. */
  spec(server: string): object;
  /** Values of the operator's Secret `registry`. */
  readonly secret: Readonly<Record<string, string>>;
  /** How the registry reports a change by itself: what the floor asks, or an interval in milliseconds. */
  readonly notification:
    | { readonly kind: 'blocking'; readonly target: Parameters<FloorHandlers['watch']>[0] }
    | { readonly kind: 'poll'; readonly intervalMs: number };
  /** Registers all instances of a service that has none yet. */
  fill(service: string, instances: readonly LoadInstance[]): Promise<void>;
  register(service: string, instance: LoadInstance): Promise<Effect>;
  /** Gives an instance another port. */
  change(service: string, before: LoadInstance, after: LoadInstance): Promise<Effect>;
  deregister(service: string, instance: LoadInstance): Promise<Effect>;
  /** Registers an instance whose health is reported once. Resolves to when that report expires. */
  registerExpiring(service: string, instance: LoadInstance): Promise<Effect>;
}

/** Called before `fill`, with the services that the floor follows. */
export type OpenRegistry = (floorServices: readonly string[]) => Promise<LoadedRegistry>;

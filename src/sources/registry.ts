import type { z } from 'zod';
import type { RegistrySection } from '../api/registry-section.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { DiscoverySource } from './source.ts';

/** An entry of a Secret in the operator's own namespace. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

/** The value of an entry of a Secret, or what is wrong with it and what to do. */
export type SecretValue =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly message: string };

/** One service of one registry. */
export interface ServiceQuery {
  readonly service: string;
  /** The section of the backend for this type of registry, as `backendSchema` made it; undefined where it has none. */
  readonly options: unknown;
}

/** How much one registry is asked, from the spec of the ServiceRegistry. */
export interface RegistryLimits {
  /** Queries at once. */
  readonly concurrentQueries: number;
  /** Undefined: no limit. */
  readonly requestsPerSecond: number | undefined;
  /** How long the registry may take to answer, beyond the time that it may wait for a change. */
  readonly requestTimeoutMs: number;
  /** Pause between two requests for one service, where the registry cannot wait for a change. */
  readonly pollIntervalMs: number;
}

export interface RegistryOptions<Registry> {
  /** Name of the ServiceRegistry, for messages. */
  readonly name: string;
  /** The section of the ServiceRegistry for this type. */
  readonly section: Registry;
  /** The value of a Secret's entry now. A source asks again for each request, so that a new value needs no restart. */
  readonly secret: (ref: SecretKeyRef) => SecretValue;
  /** Calls `changed` when the value of an entry that `secretRefs` names has changed, or may have. */
  readonly onSecretsChange: (changed: () => void) => Disposable;
  readonly limits: RegistryLimits;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** One kind of service registry: everything that the rest of the program knows of it. */
export interface RegistryType<Registry = unknown> extends RegistrySection {
  readonly registrySchema: z.ZodType<Registry>;

  /** Every entry of a Secret that the section refers to. */
  secretRefs(section: Registry): readonly SecretKeyRef[];

  /** The source of one ServiceRegistry. It is run until the ServiceRegistry changes or is deleted. */
  create(options: RegistryOptions<Registry>): DiscoverySource<ServiceQuery>;
}

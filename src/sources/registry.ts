import type { z } from 'zod';
import type { RegistrySection } from '../api/registry-section.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { DiscoverySource } from './source.ts';

/** A key of a Secret in the operator's namespace. */
export interface SecretKeyRef {
  readonly name: string;
  readonly key: string;
}

/** The value of a Secret key, or a message with the problem and its remedy. */
export type SecretValue =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly message: string };

/** One service of one registry. */
export interface ServiceQuery {
  readonly service: string;
  /** The parsed section of the backend for this registry type; undefined if it is not set. */
  readonly options: unknown;
}

export interface RegistryOptions<Registry> {
  /** Name of the ServiceRegistry, for messages. */
  readonly name: string;
  /** The parsed section of the ServiceRegistry. */
  readonly section: Registry;
  /** Returns the current value of a Secret key. A source calls it for each request, so that a changed value needs no restart. */
  readonly secret: (ref: SecretKeyRef) => SecretValue;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** Everything that the program needs to know about one registry type. */
export interface RegistryType<Registry = unknown> extends RegistrySection {
  readonly registrySchema: z.ZodType<Registry>;

  /** All Secret keys that the section refers to. */
  secretRefs(section: Registry): readonly SecretKeyRef[];

  /** Creates the source of one ServiceRegistry. It runs until the ServiceRegistry changes or is deleted. */
  create(options: RegistryOptions<Registry>): DiscoverySource<ServiceQuery>;
}

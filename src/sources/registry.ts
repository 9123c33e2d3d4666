import type { z } from 'zod';
import type { RegistrySection } from '../api/registry-section.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { Complaint } from '../model/errors.ts';
import type { RegistryErrorReason, RegistryFacts } from '../model/registry-facts.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { DiscoverySource, SourceChange } from './source.ts';

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

/** Receives what a source does. Calls are cheap and do not throw. */
export interface RegistryObserver {
  /** The source sends a request. */
  readonly requested: () => void;
  /** A request got no complete answer. */
  readonly failed: (reason: RegistryErrorReason) => void;
  /** `facts()` may return something else, besides a later time. */
  readonly changed: () => void;
}

/** The source of one ServiceRegistry. */
export interface RegistryDiscovery extends Omit<DiscoverySource<ServiceQuery>, 'subscribe'> {
  /** Queries with the same key share one subscription. */
  key(query: ServiceQuery): string;
  subscribe(query: ServiceQuery, changed: (what: SourceChange) => void): Disposable;
  /** Why the answer for a followed service is unknown, with servers and Secrets: for the platform team only. */
  problem(query: ServiceQuery): string | undefined;
  /** The current state of the registry, even while no service is followed. Synchronous and cheap. */
  facts(): RegistryFacts;
}

/** What one server of a registry answered to a probe. */
export interface ServerProbe {
  readonly url: string;
  readonly result:
    | { readonly ok: true; readonly version: string | undefined; readonly api: string | undefined }
    | ({ readonly ok: false; readonly reason: RegistryErrorReason } & Complaint);
}

export interface RegistryOptions<Registry> {
  /** Name of the ServiceRegistry, for messages. */
  readonly name: string;
  /** The parsed section of the ServiceRegistry. */
  readonly section: Registry;
  /** Returns the current value of a Secret key. A source calls it for each request, so that a changed value needs no restart. */
  readonly secret: (ref: SecretKeyRef) => SecretValue;
  /** Calls `changed` when the value of an entry that `secretRefs` names has changed, or may have. */
  readonly onSecretsChange: (changed: () => void) => Disposable;
  readonly limits: RegistryLimits;
  readonly observer: RegistryObserver;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

/** What a single probe needs. */
export type ProbeOptions<Registry> = Pick<
  RegistryOptions<Registry>,
  'section' | 'secret' | 'limits' | 'clock'
>;

/** What the client of a registry needs. Without an observer for a single probe. */
export type ProtocolOptions<Registry> = ProbeOptions<Registry> & {
  readonly observer?: Pick<RegistryObserver, 'requested'>;
};

/** How a file holds answers of one type of registry. */
export interface SavedAnswers<Registry = unknown> {
  /** The name under which a file lists the service. */
  serviceName(query: ServiceQuery): string;
  /** What `read` accepts, for messages: `the answer to GET ...`. */
  readonly expected: string;
  /** Reads the answer that the API of the registry gives for one service. Undefined if it has another form. */
  read(answer: unknown, asked: AskedService<Registry>): SavedAnswer | undefined;
}

/** What a saved answer is about. */
export interface AskedService<Registry = unknown> {
  readonly service: string;
  /** The parsed section of the ServiceRegistry. */
  readonly section: Registry;
}

/** The instances of one service. */
export interface SavedAnswer {
  /** The number of instances, whatever their state. */
  readonly count: number;
  /** The endpoints that a backend with these options wants. */
  endpoints(options: unknown): readonly Endpoint[];
}

/** Everything that the program needs to know about one registry type. */
export interface RegistryType<Registry = unknown> extends RegistrySection {
  readonly registrySchema: z.ZodType<Registry>;

  /** All Secret keys that the section refers to. */
  secretRefs(section: Registry): readonly SecretKeyRef[];

  /** Reads answers of such a registry that a user has saved in a file, for `plan --registry-state`. */
  readonly saved: SavedAnswers<Registry>;

  /** Creates the source of one ServiceRegistry. It runs until the ServiceRegistry changes or is deleted. */
  create(options: RegistryOptions<Registry>): RegistryDiscovery;

  /** Asks every server once whether it answers and accepts the credentials. Changes nothing. */
  probe(options: ProbeOptions<Registry>, signal: AbortSignal): Promise<readonly ServerProbe[]>;
}

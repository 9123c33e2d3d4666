import { createHash } from 'node:crypto';
import { type ResolvedConnection, refersToSecret, resolveConnection } from '../../gateways/connect.ts';
import type { GatewayDriver } from '../../gateways/driver.ts';
import type { Vendor } from '../../gateways/vendor.ts';
import type { GatewayInfo } from '../../model/gateway.ts';
import type { GatewayConnection, SecretFacts } from '../../model/objects.ts';
import type { StoreView } from '../../model/store-view.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/logger.ts';
import { createRateLimit } from '../../runtime/rate-limit.ts';
import type { Instruments } from '../instruments.ts';
import type { ListReport } from '../session/options.ts';
import { GatewaySession } from '../session/session.ts';

/** Whether a connection can be used, and the reason if not. */
export type ConnectionState =
  | { readonly kind: 'usable'; readonly session: GatewaySession }
  | {
      readonly kind: 'unusable';
      readonly reason: 'SecretNotFound' | 'InvalidSpec' | 'ConnectionNotFound';
      readonly message: string;
    };

export interface ConnectionsOptions {
  /** By `spec.type` of a GatewayConnection. */
  readonly vendorOf: (type: string) => Vendor;
  readonly connections: StoreView<GatewayConnection>;
  /** Secrets of the operator's own namespace. */
  readonly secrets: StoreView<SecretFacts>;
  readonly operatorNamespace: string;
  readonly resyncMs: number;
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly mayWrite: () => boolean;
  readonly onList: (connection: string, report: ListReport) => void;
  /** The gateway's content for `id` differs from the last write; see `SessionOptions`. */
  readonly onLateWrite: (connection: string, id: UpstreamId, observed: ObservedUpstream | undefined) => void;
  /** Data planes of the connection confirmed or rejected the last write of `id`. */
  readonly onConfirmation: (connection: string, id: UpstreamId) => void;
  /** Whether a GatewayUpstream uses `id` of the connection. */
  readonly isWanted: (connection: string, id: UpstreamId) => boolean;
  /** The state of a connection may have changed; for `scope`, see `SessionOptions`. */
  readonly onState: (connection: string, scope: 'everything' | 'connection') => void;
  readonly setConcurrency: (connection: string, concurrency: number) => void;
  /** The connection was deleted. */
  readonly onDeleted: (connection: string) => void;
  readonly instruments: Instruments;
}

interface Open {
  readonly session: GatewaySession;
  /** Hash of all settings of the session, including the key. */
  readonly fingerprint: string;
  readonly ended: Promise<void>;
}

/** Keeps one session per usable GatewayConnection. A change of its address, key or certificates replaces the session. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #open = new Map<string, Open>();
  readonly #unusable = new Map<string, Extract<ConnectionState, { kind: 'unusable' }>>();
  readonly #ending = new Set<Promise<void>>();

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  state(name: string): ConnectionState {
    const open = this.#open.get(name);
    if (open !== undefined) return { kind: 'usable', session: open.session };
    return (
      this.#unusable.get(name) ?? {
        kind: 'unusable',
        reason: 'ConnectionNotFound',
        message: `GatewayConnection ${name} does not exist`,
      }
    );
  }

  /** Undefined while the connection cannot be used. */
  session(name: string): GatewaySession | undefined {
    return this.#open.get(name)?.session;
  }

  /** What the gateway reports about itself. Before the first response, the version comes from the status of the connection. */
  info({ name, status }: GatewayConnection): GatewayInfo {
    const version = status?.gatewayVersion;
    return this.#open.get(name)?.session.info ?? (version === undefined ? {} : { version });
  }

  /** Creates, replaces or closes the session of `name` to match its object and Secrets. Calls `onState` after a change. */
  update(name: string): void {
    const connection = this.#options.connections.get('', name);
    if (connection === undefined) {
      this.#unusable.delete(name);
      const ended = this.#close(name) ?? Promise.resolve();
      this.#options.onDeleted(name);
      // Requests that end while the session closes still record metrics.
      void ended.finally(() => this.#dropMetrics(name));
      this.#options.onState(name, 'everything');
      return;
    }
    const { secrets, operatorNamespace } = this.#options;
    this.#options.setConcurrency(name, connection.spec.ok ? connection.spec.value.limits.concurrency : 1);
    const resolved = resolveConnection(
      this.#options.vendorOf,
      connection,
      (secret) => secrets.get(operatorNamespace, secret),
      this.#options,
    );
    if (resolved.kind === 'unusable') {
      this.#unusable.set(name, resolved);
      this.#close(name);
      this.#options.onState(name, 'everything');
      return;
    }
    this.#unusable.delete(name);
    const { limits } = resolved.spec;
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([resolved.settings, limits, connection.uid]))
      .digest('hex');
    if (this.#open.get(name)?.fingerprint === fingerprint) return;
    const before = this.#close(name);
    this.#start(name, resolved, fingerprint, before);
    this.#options.onState(name, 'everything');
  }

  /** Whether `connection` refers to the Secret named `secret`. */
  refersTo(connection: GatewayConnection, secret: string): boolean {
    return refersToSecret(this.#options.vendorOf, connection, secret);
  }

  async close(): Promise<void> {
    for (const name of [...this.#open.keys()]) this.#close(name);
    await Promise.all(this.#ending);
  }

  #dropMetrics(name: string): void {
    // The connection may have been created again meanwhile.
    if (this.#options.connections.get('', name) === undefined)
      this.#options.instruments.connectionDeleted(name);
  }

  #start(
    name: string,
    { spec, createDriver }: Extract<ResolvedConnection, { kind: 'resolved' }>,
    fingerprint: string,
    before: Promise<void> | undefined,
  ): void {
    const {
      clock,
      random,
      resyncMs,
      mayWrite,
      onList,
      onLateWrite,
      onConfirmation,
      isWanted,
      onState,
      instruments,
    } = this.#options;
    const log = this.#options.log.child({ connection: name });
    let driver: GatewayDriver;
    try {
      driver = createDriver(mayWrite);
    } catch (error) {
      // The driver throws on invalid options, such as an invalid address or an unreadable certificate.
      const message = `GatewayConnection ${name} cannot be used: ${error instanceof Error ? error.message : 'unknown error'}`;
      this.#unusable.set(name, { kind: 'unusable', reason: 'InvalidSpec', message });
      return;
    }
    instruments.opened(name);
    const session = new GatewaySession({
      driver,
      clock,
      random,
      backoff: createBackoff({ baseMs: 500, factor: 2, maxMs: 30_000, jitter: 0.2, random }),
      log,
      resyncMs,
      limit: createRateLimit(spec.limits.requestsPerSecond),
      mayWrite,
      onList: (report) => onList(name, report),
      onLateWrite: (id, observed) => onLateWrite(name, id, observed),
      onConfirmation: (id) => onConfirmation(name, id),
      isWanted: (id) => isWanted(name, id),
      onState: (scope) => onState(name, scope),
      onWrite: (operation, outcome) => instruments.wrote(name, operation, outcome),
      onError: (reason) => instruments.failed(name, reason),
    });
    // The old session's requests end first, so that none of them overwrites a write of the new session.
    const ended = (before ?? Promise.resolve())
      .then(() => session.run())
      .catch((error: unknown) =>
        log.error({ err: error }, 'the gateway session stopped after an unexpected error'),
      );
    this.#open.set(name, { session, fingerprint, ended });
  }

  #close(name: string): Promise<void> | undefined {
    const open = this.#open.get(name);
    if (open === undefined) return undefined;
    this.#open.delete(name);
    const ending = open.session.close().then(() => open.ended);
    this.#ending.add(ending);
    return ending.finally(() => this.#ending.delete(ending));
  }
}

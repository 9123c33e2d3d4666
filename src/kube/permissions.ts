import type { Affected } from '../model/followed-resource.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { KubeApiError } from './kube-error.ts';
import type { CustomKind } from './object-writer.ts';
import { isServed } from './served.ts';
import { type KubeTransport, resourcePath } from './transport.ts';

/** The object that grants a permission. */
export interface RoleName {
  readonly kind: 'ClusterRole' | 'Role';
  readonly name: string;
  readonly namespace?: string;
}

/** One verb on one resource. */
export interface Permission {
  readonly verb: string;
  /** Empty for the core group. */
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  /** Absent: cluster-wide. */
  readonly namespace?: string;
  /** Restricts the permission to the object with this name. */
  readonly name?: string;
  readonly affects: Affected;
  /** The kind need not be installed. Without the kind, the permission is not needed. */
  readonly optional?: true;
  readonly grantedBy: RoleName;
}

/** For example `watch endpointslices.discovery.k8s.io`, with the resource as kubectl spells it. */
export function describePermission(permission: Permission): string {
  const { verb, group, resource, subresource, name } = permission;
  const kind = group === '' ? resource : `${resource}.${group}`;
  return `${verb} ${kind}${subresource === undefined ? '' : `/${subresource}`}${name === undefined ? '' : ` ${name}`}`;
}

/** For example `ClusterRole gateway-upstream-operator lacks: watch endpointslices.discovery.k8s.io`, grouped by role. */
export function describeMissing(missing: readonly Permission[]): string {
  const byRole = Map.groupBy(missing, ({ grantedBy: { kind, namespace, name } }) =>
    namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`,
  );
  return [...byRole]
    .map(([role, lacking]) => `${role} lacks: ${lacking.map(describePermission).join(', ')}`)
    .join('; ');
}

/** The message of a condition: the missing permissions and the remedy. */
function remedyFor(missing: readonly Permission[]): string {
  return `${describeMissing(missing)}. Run \`gateway-upstream-operator install\` or \`helm upgrade\` to restore it; no restart is needed`;
}

const REVIEW_PATH = resourcePath({
  group: 'authorization.k8s.io',
  version: 'v1',
  plural: 'selfsubjectaccessreviews',
});
const REVIEW_TIMEOUT_MS = 10_000;
const MAX_CONCURRENT_REVIEWS = 16;

/**
 * `notNeeded`: not granted and not needed, because the kind is not installed. `unknown`: the authorizer could not decide.
 */
export type Review = 'granted' | 'missing' | 'notNeeded' | 'unknown';

/** Asks the API server whether the transport's user has `permission`. Rejects with `KubeApiError`. */
async function reviewPermission(
  transport: KubeTransport,
  permission: Permission,
  signal: AbortSignal,
): Promise<Review> {
  const { verb, group, resource, subresource, namespace, name } = permission;
  const resourceAttributes = { verb, group, resource, subresource, namespace, name };
  const { status } = (await transport.send({
    method: 'POST',
    path: REVIEW_PATH,
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectAccessReview',
      spec: { resourceAttributes },
    },
    timeoutMs: REVIEW_TIMEOUT_MS,
    signal,
  })) as { readonly status?: { readonly allowed?: unknown; readonly evaluationError?: unknown } };
  if (status?.allowed === true) return 'granted';
  // RBAC reports no evaluation error for a missing role. An authorization webhook that does not answer causes one.
  const failed = typeof status?.evaluationError === 'string' && status.evaluationError !== '';
  if (typeof status?.allowed !== 'boolean' || failed) return 'unknown';
  if (permission.optional !== true) return 'missing';
  return (await isServed(transport, { group, plural: resource }, signal)) ? 'missing' : 'notNeeded';
}

/** One result for each of `permissions`, in the same order. */
export async function reviewPermissions(
  transport: KubeTransport,
  permissions: readonly Permission[],
  signal: AbortSignal,
): Promise<readonly PromiseSettledResult<Review>[]> {
  const answers: PromiseSettledResult<Review>[] = [];
  for (let from = 0; from < permissions.length; from += MAX_CONCURRENT_REVIEWS) {
    const some = permissions.slice(from, from + MAX_CONCURRENT_REVIEWS);
    answers.push(...(await Promise.allSettled(some.map((one) => reviewPermission(transport, one, signal)))));
  }
  return answers;
}

/** The permissions that one object needs, besides those for its own namespace. */
interface Needs {
  /** Other namespaces that the object refers to. */
  readonly referred: readonly string[];
  /** Whether the object refers to a Secret in its own namespace. */
  readonly certificate: boolean;
  /** Whether the object refers to a ServiceRegistry. */
  readonly registry: boolean;
}

const NO_NEEDS: Needs = { referred: [], certificate: false, registry: false };

/** The missing permissions, as reconcilers use them. */
export interface MissingPermissions {
  /** Condition message for an object of this kind. Undefined if the object depends on no missing permission. */
  lacking(kind: CustomKind, namespace: string, needs?: Needs): string | undefined;
  onChange(listener: () => void): Disposable;
}

export interface PermissionMonitor extends MissingPermissions {
  /** Why the readiness check fails. Undefined if it passes. */
  problem(): string | undefined;
  /** Permissions that were missing in the last review. */
  missing(): readonly Permission[];
  /** Call this when the API server answers a request for `path` with 401 or 403. It triggers a review. */
  refused(path: string): void;
  /** Reviews until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

export interface PermissionMonitorOptions {
  readonly transport: KubeTransport;
  readonly permissions: readonly Permission[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly intervalMs: number;
}

/** Minimum time between two reviews, however many requests the API server denies. */
const MIN_INTERVAL_MS = 2000;

/**
 * Reviews all permissions of the operator periodically. If the API server does not answer a review, the last known result
 * stays: an unknown permission does not count as missing.
 */
export function createPermissionMonitor(options: PermissionMonitorOptions): PermissionMonitor {
  const reviews = new PermissionReviews(options);
  return {
    missing: () => reviews.missing(),
    problem: () => reviews.problem(),
    lacking: (kind, namespace, needs) => reviews.lacking(kind, namespace, needs),
    onChange: (listener) => reviews.onChange(listener),
    refused: (path) => reviews.refused(path),
    run: (signal) => reviews.run(signal),
  };
}

class PermissionReviews implements PermissionMonitor {
  readonly #options: PermissionMonitorOptions;
  readonly #listeners = new Set<() => void>();
  #missing: ReadonlySet<Permission> = new Set();
  /** Why the API server rejects the reviews themselves. */
  #reviewProblem: string | undefined;
  #isReviewRequested = false;
  #wake: (() => void) | undefined;

  constructor(options: PermissionMonitorOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, intervalMs } = this.#options;
    while (!signal.aborted) {
      this.#isReviewRequested = false;
      await this.#review(signal);
      await clock.sleep(Math.min(MIN_INTERVAL_MS, intervalMs), signal).catch(() => undefined);
      await this.#pause(Math.max(0, intervalMs - MIN_INTERVAL_MS), signal);
    }
  }

  missing(): readonly Permission[] {
    return this.#options.permissions.filter((permission) => this.#missing.has(permission));
  }

  problem(): string | undefined {
    const lacking = this.missing();
    return this.#reviewProblem ?? (lacking.length === 0 ? undefined : describeMissing(lacking));
  }

  lacking(kind: CustomKind, namespace: string, needs: Needs = NO_NEEDS): string | undefined {
    // Called for every object that is reconciled.
    if (this.#missing.size === 0) return undefined;
    const lacking = this.missing().filter((permission) => dependsOn(permission, kind, namespace, needs));
    return lacking.length === 0 ? undefined : remedyFor(lacking);
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  refused(path: string): void {
    // A denied review must not trigger the next review, or reviews would never end.
    if (path === REVIEW_PATH) return;
    this.#isReviewRequested = true;
    this.#wake?.();
  }

  async #review(signal: AbortSignal): Promise<void> {
    const { transport, permissions } = this.#options;
    const answers = await reviewPermissions(transport, permissions, signal);
    if (signal.aborted) return;
    const now = new Set(this.#missing);
    let refusal: string | undefined;
    for (const [index, permission] of permissions.entries()) {
      const answer = answers[index];
      if (answer?.status === 'rejected') refusal ??= refusalOf(answer.reason);
      if (answer?.status !== 'fulfilled' || answer.value === 'unknown') continue;
      if (answer.value === 'missing') now.add(permission);
      else now.delete(permission);
    }
    this.#setReviewProblem(refusal);
    this.#setMissing(now);
  }

  #setReviewProblem(refusal: string | undefined): void {
    if (refusal === this.#reviewProblem) return;
    const { log } = this.#options;
    if (refusal === undefined) log.info({}, 'the API server answers permission reviews again');
    else log.error({}, refusal);
    this.#reviewProblem = refusal;
  }

  #setMissing(now: ReadonlySet<Permission>): void {
    const { permissions, log } = this.#options;
    const before = this.#missing;
    const changed = permissions.filter((permission) => now.has(permission) !== before.has(permission));
    this.#missing = now;
    for (const permission of changed) {
      if (now.has(permission)) log.warn({ reason: 'PermissionMissing' }, describeMissing([permission]));
      else log.info({}, `granted again: ${describePermission(permission)}`);
    }
    if (changed.length > 0) for (const listener of [...this.#listeners]) listener();
  }

  /** Resolves after `ms`, or earlier if a review is requested. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || this.#isReviewRequested) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = this.#options.clock.setTimer(ms, resolve);
    const ended = () => resolve();
    this.#wake = ended;
    signal.addEventListener('abort', ended);
    await promise;
    signal.removeEventListener('abort', ended);
    this.#wake = undefined;
  }
}

/** Whether an object depends on a permission. */
function dependsOn(
  permission: Permission,
  kind: CustomKind,
  namespace: string,
  { referred, certificate, registry }: Needs,
): boolean {
  const { affects, namespace: scope } = permission;
  if (kind === 'GatewayConnection' || kind === 'ServiceRegistry') return true;
  if (kind === 'GatewayUpstreamSet') return affects === 'sets' || affects === 'everything';
  if (affects === 'connections' || affects === 'sets') return false;
  if (affects === 'registries') return registry;
  if (affects === 'certificates') return certificate && scope === namespace;
  const where = affects === 'references' ? referred : [namespace, ...referred];
  return scope === undefined ? where.length > 0 : where.includes(scope);
}

function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof KubeApiError)) return undefined;
  if (error.status === 401) {
    return "the API server rejected the operator's credentials (401): the token has expired or its ServiceAccount was deleted. Write a new token to the same file; no restart is needed";
  }
  if (error.status === 403) {
    return `the API server denied the permission review (403): bind ClusterRole system:basic-user to the operator's user again: ${error.message}`;
  }
  return undefined;
}

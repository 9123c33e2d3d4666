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
  /** Absent: in the whole cluster. */
  readonly namespace?: string;
  /** Only the object of this name. */
  readonly name?: string;
  /**
   * What is not right any more without it. A tenant is not told of what does not touch the upstreams: every missing
   * permission is told on the GatewayConnections, which belong to whoever can put it back. `references`: upstreams that
   * refer to another namespace. `certificates`: upstreams that refer to a Secret. `sets`: which GatewayUpstreams there are,
   * for GatewayUpstreamSets.
   */
  readonly affects: 'connections' | 'references' | 'certificates' | 'sets' | 'everything';
  /** The kind need not be installed, and where it is not nobody misses the permission. */
  readonly optional?: true;
  readonly grantedBy: RoleName;
}

/** `watch endpointslices.discovery.k8s.io`, in kubectl's spelling of resources. */
export function describePermission(permission: Permission): string {
  const { verb, group, resource, subresource, name } = permission;
  const kind = group === '' ? resource : `${resource}.${group}`;
  return `${verb} ${kind}${subresource === undefined ? '' : `/${subresource}`}${name === undefined ? '' : ` ${name}`}`;
}

/** `ClusterRole gateway-upstream-operator lacks: watch endpointslices.discovery.k8s.io`, role by role. */
export function describeMissing(missing: readonly Permission[]): string {
  const byRole = Map.groupBy(missing, ({ grantedBy: { kind, namespace, name } }) =>
    namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`,
  );
  return [...byRole]
    .map(([role, lacking]) => `${role} lacks: ${lacking.map(describePermission).join(', ')}`)
    .join('; ');
}

/** What an object's condition says, with what to do about it. */
function remedyFor(missing: readonly Permission[]): string {
  return `${describeMissing(missing)}. Put it back by \`gateway-upstream-operator install\` or \`helm upgrade\`; nothing has to be restarted`;
}

const REVIEW_PATH = resourcePath({
  group: 'authorization.k8s.io',
  version: 'v1',
  plural: 'selfsubjectaccessreviews',
});
const REVIEW_TIMEOUT_MS = 10_000;
const AT_ONCE = 16;

/** `needless`: not granted, but for a kind that is not installed. `unknown`: the authorizer could not tell. */
export type Review = 'granted' | 'missing' | 'needless' | 'unknown';

/** What the transport's own user has of `permission`, by the API server's word. Rejects with `KubeApiError`. */
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
  // Of RBAC a missing role is no such error; of a webhook that does not answer it is one.
  const failed = typeof status?.evaluationError === 'string' && status.evaluationError !== '';
  if (typeof status?.allowed !== 'boolean' || failed) return 'unknown';
  if (permission.optional !== true) return 'missing';
  return (await isServed(transport, { group, plural: resource }, signal)) ? 'missing' : 'needless';
}

/** One answer for each of `permissions`, in their order; a few at a time. */
export async function reviewPermissions(
  transport: KubeTransport,
  permissions: readonly Permission[],
  signal: AbortSignal,
): Promise<readonly PromiseSettledResult<Review>[]> {
  const answers: PromiseSettledResult<Review>[] = [];
  for (let from = 0; from < permissions.length; from += AT_ONCE) {
    const some = permissions.slice(from, from + AT_ONCE);
    answers.push(...(await Promise.allSettled(some.map((one) => reviewPermission(transport, one, signal)))));
  }
  return answers;
}

/** What reconcilers see of the operator's permissions. */
export interface MissingPermissions {
  /**
   * What to say on an object of this kind; undefined if nothing is missing that it depends on. `referred`: the other
   * namespaces that it refers to; `certificate`: whether it refers to a Secret of its own.
   */
  lacking(
    kind: CustomKind,
    namespace: string,
    needs?: { readonly referred: readonly string[]; readonly certificate: boolean },
  ): string | undefined;
  onChange(listener: () => void): Disposable;
}

export interface PermissionMonitor extends MissingPermissions {
  /** For readiness. */
  problem(): string | undefined;
  /** What is missing by the last review. */
  missing(): readonly Permission[];
  /** The API server refused a request for this path with 401 or 403: everything is reviewed at once. */
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

/** Least time between two reviews, however many requests are refused. */
const GAP_MS = 2000;

/**
 * Reviews every permission of the operator again and again. What the API server does not answer is left as it was:
 * unknown is not missing.
 */
export function createPermissionMonitor(options: PermissionMonitorOptions): PermissionMonitor {
  const { transport, permissions, clock, log, intervalMs } = options;
  const listeners = new Set<() => void>();
  let missing: ReadonlySet<Permission> = new Set();
  /** Why the API server would not even say what is granted. */
  let unheard: string | undefined;
  let wanted = false;
  let wake: (() => void) | undefined;

  const review = async (signal: AbortSignal): Promise<void> => {
    const answers = await reviewPermissions(transport, permissions, signal);
    if (signal.aborted) return;
    const now = new Set(missing);
    let refusal: string | undefined;
    for (const [index, permission] of permissions.entries()) {
      const answer = answers[index];
      if (answer?.status === 'rejected') refusal ??= refusalOf(answer.reason);
      if (answer?.status !== 'fulfilled' || answer.value === 'unknown') continue;
      if (answer.value === 'missing') now.add(permission);
      else now.delete(permission);
    }
    if (refusal !== unheard) {
      if (refusal === undefined) log.info({}, 'the API server takes the credentials again');
      else log.error({}, refusal);
      unheard = refusal;
    }
    const changed = permissions.filter((permission) => now.has(permission) !== missing.has(permission));
    missing = now;
    for (const permission of changed) {
      if (now.has(permission)) log.warn({ reason: 'PermissionMissing' }, describeMissing([permission]));
      else log.info({}, `granted again: ${describePermission(permission)}`);
    }
    if (changed.length > 0) for (const listener of [...listeners]) listener();
  };

  /** Resolves after `ms`, or earlier when a review is wanted. */
  const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
    if (signal.aborted || wanted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _timer = clock.setTimer(ms, resolve);
    const ended = () => resolve();
    wake = ended;
    signal.addEventListener('abort', ended);
    await promise;
    signal.removeEventListener('abort', ended);
    wake = undefined;
  };

  return {
    missing: () => permissions.filter((permission) => missing.has(permission)),

    problem() {
      const lacking = permissions.filter((permission) => missing.has(permission));
      return unheard ?? (lacking.length === 0 ? undefined : describeMissing(lacking));
    },

    lacking(kind, namespace, { referred, certificate } = { referred: [], certificate: false }) {
      // Asked for every object that is reconciled.
      if (missing.size === 0) return undefined;
      const concerns = (permission: Permission): boolean => {
        if (kind === 'GatewayConnection') return true;
        if (kind === 'GatewayUpstreamSet') return ['sets', 'everything'].includes(permission.affects);
        if (permission.affects === 'connections' || permission.affects === 'sets') return false;
        if (permission.affects === 'certificates') return certificate && permission.namespace === namespace;
        const where = permission.affects === 'references' ? referred : [namespace, ...referred];
        return permission.namespace === undefined ? where.length > 0 : where.includes(permission.namespace);
      };
      const lacking = permissions.filter((permission) => missing.has(permission) && concerns(permission));
      return lacking.length === 0 ? undefined : remedyFor(lacking);
    },

    onChange(listener) {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },

    refused(path) {
      // A review that is refused itself would ask for the next one for ever.
      if (path === REVIEW_PATH) return;
      wanted = true;
      wake?.();
    },

    async run(signal) {
      while (!signal.aborted) {
        wanted = false;
        await review(signal);
        await clock.sleep(Math.min(GAP_MS, intervalMs), signal).catch(() => undefined);
        await pause(Math.max(0, intervalMs - GAP_MS), signal);
      }
    },
  };
}

function refusalOf(error: unknown): string | undefined {
  if (!(error instanceof KubeApiError)) return undefined;
  if (error.status === 401) {
    return "the API server refused the operator's credentials (401): is the token expired, or its ServiceAccount gone? A new token in the same file is read without a restart";
  }
  if (error.status === 403) {
    return `the API server lets nobody ask what is granted (403): give the operator's user ClusterRole system:basic-user back: ${error.message}`;
  }
  return undefined;
}

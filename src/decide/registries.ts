import { NAMESPACE_PLACEHOLDER } from '../api/service-pattern.ts';
import type { ServiceRegistrySpec } from '../api/service-registry.ts';
import type { UnknownAnswer } from '../model/discovered.ts';
import type { GatewayConnection, ServiceRegistry } from '../model/objects.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import type { NotPermitted } from './backends.ts';
import { unlisted } from './listing.ts';
import { compileNamePattern, type NamePattern, namePattern } from './name-pattern.ts';
import { isNamespaceAllowed, patternProblem } from './selectors.ts';
import type { Snapshot } from './snapshot.ts';

/** Who uses a registry, and in which gateway. */
export interface RegistryUser {
  readonly namespace: string;
  /** Name of the GatewayConnection. */
  readonly connection: string;
  /** `spec.allowedRegistries` of the GatewayConnection. */
  readonly allowedRegistries: readonly string[] | undefined;
}

/** An object in `namespace` that refers to `connection`. */
export function registryUser(
  namespace: string,
  { name, spec }: Pick<GatewayConnection, 'name' | 'spec'>,
): RegistryUser {
  return {
    namespace,
    connection: name,
    allowedRegistries: spec.ok ? spec.value.allowedRegistries : undefined,
  };
}

/** A registry that the object may use; or why it may not, or why that is not known. */
export type RegistryAccess =
  | { readonly state: 'permitted'; readonly registry: ServiceRegistrySpec }
  | NotPermitted
  | UnknownAnswer;

export function registryAccess(
  { registries, namespaces }: Pick<Snapshot, 'registries' | 'namespaces'>,
  ref: RegistryServiceRef,
  user: RegistryUser,
): RegistryAccess {
  const { registry: name } = ref;
  const { namespace } = user;
  if (user.allowedRegistries?.includes(name) !== true) {
    return denied(
      'RegistryNotAllowed',
      `GatewayConnection ${user.connection} does not allow ServiceRegistry ${name}: ask the platform team to add it to spec.allowedRegistries`,
    );
  }
  if (registries === undefined)
    return unusable(
      name,
      'the operator does not watch ServiceRegistries: set watchRegistries to true in its configuration',
    );
  const unread = unlisted('ServiceRegistries', registries);
  if (unread !== undefined) return unread;
  const usable = usableRegistry(name, registries.get('', name));
  if ('state' in usable) return usable;
  const facts = namespaces.get('', namespace) ?? { name: namespace, labels: undefined };
  const allowed = isNamespaceAllowed(usable.allowedNamespaces, facts);
  if (allowed === 'unknown') {
    return unknown(
      name,
      `the operator has not read namespace ${namespace} yet, and the registry selects namespaces by label`,
    );
  }
  if (!allowed) {
    return denied(
      'RegistryNotAllowed',
      `ServiceRegistry ${name} does not allow namespace ${namespace}: ask the platform team to add it to spec.allowedNamespaces`,
    );
  }
  return (
    serviceProblem(usable, ref, namespace) ??
    typeProblem(usable, ref) ?? { state: 'permitted', registry: usable }
  );
}

/** Why `user` may not use `ref`, or why that is not known; undefined if it may. */
export function registryDenied(
  snapshot: Parameters<typeof registryAccess>[0],
  ref: RegistryServiceRef,
  user: RegistryUser,
): Exclude<RegistryAccess, { state: 'permitted' }> | undefined {
  const access = registryAccess(snapshot, ref, user);
  return access.state === 'permitted' ? undefined : access;
}

/**
 * Whether the operator may ask a registry for `ref` because of an object in `namespace` that refers to `connection`. Without
 * this check, everyone who may create an object could query every registry with the operator's credentials.
 */
export function mayFollow(
  snapshot: Parameters<typeof registryAccess>[0],
  ref: RegistryServiceRef,
  namespace: string,
  connection: Pick<GatewayConnection, 'name' | 'spec'> | undefined,
): boolean {
  if (connection?.spec.ok !== true) return false;
  const facts = snapshot.namespaces.get('', namespace) ?? { name: namespace, labels: undefined };
  return (
    isNamespaceAllowed(connection.spec.value.allowedNamespaces, facts) === true &&
    registryAccess(snapshot, ref, registryUser(namespace, connection)).state === 'permitted'
  );
}

/** The accidental deletion of a ServiceRegistry must not stop traffic, so the answer is unknown, not denied. */
function usableRegistry(
  name: string,
  registry: ServiceRegistry | undefined,
): ServiceRegistrySpec | UnknownAnswer {
  if (registry === undefined) return unusable(name, 'it does not exist: create it, or correct registryRef');
  if (!registry.spec.ok) return unusable(name, `its spec is not valid: ${registry.spec.message}`);
  const problem = patternProblem(registry.spec.value.allowedNamespaces);
  return problem === undefined ? registry.spec.value : unusable(name, `spec.allowedNamespaces: ${problem}`);
}

/** Why the namespace may not use the service; undefined if it may. */
function serviceProblem(
  registry: ServiceRegistrySpec,
  { registry: name, service }: RegistryServiceRef,
  namespace: string,
): NotPermitted | UnknownAnswer | undefined {
  const { services } = registry.tenantPolicy;
  if (services === undefined) return undefined;
  const answer = allowedServices(services, namespace)(service);
  if (answer.kind === 'unusable') return unusable(name, `spec.tenantPolicy.services: ${answer.why}`);
  if (answer.kind === 'allowed') return undefined;
  return denied(
    'RegistryServiceNotAllowed',
    `ServiceRegistry ${name} does not allow namespace ${namespace} to use service ${service}: use another service, or ask the platform team to add a pattern to spec.tenantPolicy.services`,
  );
}

type ServiceAnswer =
  | { readonly kind: 'allowed' | 'denied' }
  | { readonly kind: 'unusable'; readonly why: string };

/** Answers whether a namespace may use a service. */
type AllowedServices = (service: string) => ServiceAnswer;

const MAX_LISTS = 100;
/** How many namespaces a list of patterns is compiled for at the same time: compiling takes time. */
const MAX_NAMESPACES = 500;
/** The cache size of one namespace. Its owner chooses the names, so each namespace has a cache of its own. */
const MAX_ANSWERS = 2000;

/**
 * By list of patterns, then by namespace. The latest come last. Lists are compared by content, because every change of a
 * status makes a new object.
 */
const policies = new Map<string, Map<string, AllowedServices>>();

/** Every reconcile asks again. */
function allowedServices(patterns: readonly string[], namespace: string): AllowedServices {
  const byNamespace = latest(
    policies,
    patterns.join('\n'),
    MAX_LISTS,
    () => new Map<string, AllowedServices>(),
  );
  return latest(byNamespace, namespace, MAX_NAMESPACES, () => servicesOf(patterns, namespace));
}

/** The entry of a cache of at most `size` entries, whose least recently used one makes way. */
function latest<Value>(cache: Map<string, Value>, key: string, size: number, make: () => Value): Value {
  const value = cache.get(key) ?? make();
  cache.delete(key);
  cache.set(key, value);
  const [oldest] = cache.keys();
  if (cache.size > size && oldest !== undefined) cache.delete(oldest);
  return value;
}

function servicesOf(sources: readonly string[], namespace: string): AllowedServices {
  const patterns = sources.map((source) => ({ source, pattern: patternFor(source, namespace) }));
  const answers = new Map<string, ServiceAnswer>();
  return (service) => {
    const known = answers.get(service);
    if (known !== undefined) return known;
    if (answers.size >= MAX_ANSWERS) answers.clear();
    const answer = serviceAnswer(patterns, service);
    answers.set(service, answer);
    return answer;
  };
}

/** The name of a namespace has no character with a meaning in an expression. */
function patternFor(source: string, namespace: string): NamePattern {
  return source.includes(NAMESPACE_PLACEHOLDER)
    ? compileNamePattern(source.replaceAll(NAMESPACE_PLACEHOLDER, `(?:${namespace})`))
    : namePattern(source);
}

/** An unusable pattern fails closed: the others can still allow the service. */
function serviceAnswer(
  patterns: readonly { readonly source: string; readonly pattern: NamePattern }[],
  service: string,
): ServiceAnswer {
  let answer: ServiceAnswer = { kind: 'denied' };
  for (const { source, pattern } of patterns) {
    if (pattern.kind === 'unusable') {
      answer = { kind: 'unusable', why: `${source} cannot be used because ${pattern.why}` };
    } else if (pattern.matches(service)) return { kind: 'allowed' };
  }
  return answer;
}

/** The section of a registry's type is the only one that its spec has. */
function typeProblem(
  registry: ServiceRegistrySpec,
  { registry: name, options }: RegistryServiceRef,
): UnknownAnswer | undefined {
  const other = Object.keys(options).find((section) => !Object.hasOwn(registry, section));
  if (other === undefined) return undefined;
  return {
    ...unknown(
      name,
      `it is of type ${registry.type}: remove ${other} from the backend, or correct registryRef`,
    ),
    reason: 'RegistryTypeMismatch',
  };
}

function denied(reason: NotPermitted['reason'], message: string): NotPermitted {
  return { state: 'notPermitted', reason, message };
}

function unusable(name: string, why: string): UnknownAnswer {
  return { ...unknown(name, why), reason: 'RegistryNotFound' };
}

function unknown(name: string, why: string): UnknownAnswer {
  return {
    state: 'unknown',
    beginning: false,
    message: `ServiceRegistry ${name} cannot be used (${why}): the gateway's current nodes are unchanged`,
  };
}

import { GATEWAY_CONNECTION, SERVICE_REGISTRY } from '../../api/crd.ts';
import { GROUP, VERSION } from '../../api/group.ts';
import type { Catalog } from '../../catalog.ts';
import { registryPatternVerdict } from '../../decide/registry-verdicts.ts';
import { listAll } from '../../kube/list-all.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { SecretFacts, ServiceRegistry } from '../../model/objects.ts';
import { systemClock } from '../../runtime/clock.ts';
import { limitsOf, secretValue } from '../../sources/registries.ts';
import type { RegistryType, ServerProbe } from '../../sources/registry.ts';
import { type Finding, failed, fine, kubeError, SOLVE_FIRST } from './finding.ts';
import { ownSecrets } from './own-secrets.ts';

export interface CheckRegistriesDeps {
  readonly catalog: Catalog;
  readonly transport: KubeTransport;
  readonly operatorNamespace: string;
  /** Of the configuration of the operator. */
  readonly watchRegistries: boolean;
}

const REGISTRY_LOG = 'check the log of the registry';

/** Asks every server of every ServiceRegistry once. No finding if there is no ServiceRegistry. */
export async function checkRegistries(
  deps: CheckRegistriesDeps,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  if (!deps.watchRegistries || deps.catalog.registries === undefined) return [];
  let registries: readonly ServiceRegistry[];
  let allowed: ReadonlyMap<string, string>;
  let secrets: ReadonlyMap<string, SecretFacts>;
  try {
    registries = await registriesIn(deps, signal);
    allowed = await allowedRegistries(deps, signal);
    secrets = registries.length === 0 ? new Map() : await ownSecrets(deps, signal);
  } catch (error) {
    return [failed('registries', kubeError(error).message, SOLVE_FIRST)];
  }
  const findings = await Promise.all(
    registries.map((registry) => checkRegistry(deps, registry, secrets, signal)),
  );
  return [...findings.flat(), ...missingRegistries(registries, allowed)];
}

async function registriesIn(
  { catalog, transport }: CheckRegistriesDeps,
  signal: AbortSignal,
): Promise<readonly ServiceRegistry[]> {
  const path = resourcePath({ group: GROUP, version: VERSION, plural: SERVICE_REGISTRY.plural });
  const raw = (await listAll(transport, path, {}, signal)) ?? [];
  return raw.flatMap((object) => catalog.transforms.serviceRegistry?.(object) ?? []);
}

/** The GatewayConnection that allows each registry, by name of the registry. */
async function allowedRegistries(
  { catalog, transport }: CheckRegistriesDeps,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const path = resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_CONNECTION.plural });
  const raw = (await listAll(transport, path, {}, signal)) ?? [];
  const connections = raw.flatMap((object) => catalog.transforms.gatewayConnection(object) ?? []);
  return new Map(
    connections.flatMap(({ name, spec }) =>
      (spec.ok ? (spec.value.allowedRegistries ?? []) : []).map((registry) => [registry, name] as const),
    ),
  );
}

function missingRegistries(
  registries: readonly ServiceRegistry[],
  allowed: ReadonlyMap<string, string>,
): readonly Finding[] {
  const existing = new Set(registries.map(({ name }) => name));
  return [...allowed]
    .filter(([name]) => !existing.has(name))
    .map(([name, connection]) =>
      failed(
        `ServiceRegistry ${name}`,
        `it does not exist, but GatewayConnection ${connection} allows it`,
        'create it, or correct spec.allowedRegistries of the GatewayConnection',
      ),
    );
}

async function checkRegistry(
  deps: CheckRegistriesDeps,
  registry: ServiceRegistry,
  secrets: ReadonlyMap<string, SecretFacts>,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const settings = `ServiceRegistry ${registry.name}, settings`;
  const { spec } = registry;
  if (!spec.ok) return [failed(settings, spec.message, 'correct the spec of the ServiceRegistry')];
  const pattern = registryPatternVerdict(registry);
  if (pattern !== undefined) {
    return [failed(settings, pattern.message, 'correct the spec of the ServiceRegistry')];
  }
  const type = deps.catalog.registryTypes.find((one) => one.type === spec.value.type);
  if (type === undefined) {
    return [
      failed(
        settings,
        `this version of the operator does not support type ${spec.value.type}`,
        'upgrade the operator',
      ),
    ];
  }
  const section = (spec.value as Readonly<Record<string, unknown>>)[type.section];
  const secret = (ref: Parameters<typeof secretValue>[2]) =>
    secretValue((name) => secrets.get(name), deps.operatorNamespace, ref);
  const [missing] = type.secretRefs(section).flatMap((ref) => {
    const value = secret(ref);
    return value.ok ? [] : [value];
  });
  if (missing !== undefined) return [failed(settings, missing.message, undefined)];
  const limits = limitsOf(spec.value);
  const probes = await type.probe({ section, secret, limits, clock: systemClock }, signal);
  return [
    fine(settings, 'valid, and the Secrets exist'),
    ...probes.map((probe) => serverFinding(registry.name, type, probe)),
  ];
}

function serverFinding(name: string, { type }: RegistryType, { url, result }: ServerProbe): Finding {
  const server = `ServiceRegistry ${name}, server ${url}`;
  if (!result.ok) return failed(server, result.problem, result.remedy ?? REGISTRY_LOG);
  const { version = '(unknown version)', api } = result;
  const used = api === undefined ? '' : `, API ${api}`;
  return fine(server, `reachable, and accepts the credentials: ${type} ${version}${used}`);
}

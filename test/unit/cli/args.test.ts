import { describe, expect, it } from 'vitest';
import { type Command, DEFAULT_NAMESPACE, readCommand, USAGE } from '../../../src/cli/args.ts';
import { ConfigError } from '../../../src/config/config.ts';

const POD = { POD_NAMESPACE: 'gateways' };

function refusal(argv: readonly string[]): string {
  try {
    readCommand(argv, POD);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

describe('a command line', () => {
  it('reads --version on its own only', () => {
    expect(readCommand(['--version'], {})).toEqual({ kind: 'version' });
    expect(() => readCommand(['print', '--version'], {})).toThrow('--version');
  });

  it.each([[['--help']], [['-h']], [['run', '--help']], [['fly', '-h']], [['install', '--crds-only', '-h']]])(
    '%o asks for help',
    (argv) => {
      expect(readCommand(argv, {})).toEqual({ kind: 'help' });
    },
  );

  it.each<[string, Command]>([
    [
      'install',
      {
        kind: 'install',
        manifest: { namespace: DEFAULT_NAMESPACE, namespaces: [], secretNamespaces: [], crdsOnly: false },
        kubeconfig: undefined,
        outOfCluster: undefined,
      },
    ],
    [
      'install --namespace gateways --namespaces a,b,a --secret-namespaces b,b --kubeconfig admin',
      {
        kind: 'install',
        manifest: { namespace: 'gateways', namespaces: ['a', 'b'], secretNamespaces: ['b'], crdsOnly: false },
        kubeconfig: 'admin',
        outOfCluster: undefined,
      },
    ],
    [
      'install --out-of-cluster',
      {
        kind: 'install',
        manifest: { namespace: DEFAULT_NAMESPACE, namespaces: [], secretNamespaces: [], crdsOnly: false },
        kubeconfig: undefined,
        outOfCluster: {
          output: 'gateway-upstream-operator.kubeconfig',
          overwrite: false,
          token: { kind: 'expiring', durationMs: 86_400_000 },
        },
      },
    ],
    [
      'install --out-of-cluster --long-lived --output here --force',
      {
        kind: 'install',
        manifest: { namespace: DEFAULT_NAMESPACE, namespaces: [], secretNamespaces: [], crdsOnly: false },
        kubeconfig: undefined,
        outOfCluster: { output: 'here', overwrite: true, token: { kind: 'longLived' } },
      },
    ],
    [
      'print --watch-nodes --read-endpoints',
      {
        kind: 'print',
        manifest: {
          namespace: DEFAULT_NAMESPACE,
          namespaces: [],
          secretNamespaces: [],
          crdsOnly: false,
          watchNodes: true,
          readEndpoints: true,
        },
      },
    ],
    [
      'print --crds-only',
      {
        kind: 'print',
        manifest: { namespace: DEFAULT_NAMESPACE, namespaces: [], secretNamespaces: [], crdsOnly: true },
      },
    ],
    [
      'uninstall',
      {
        kind: 'uninstall',
        kubeconfig: undefined,
        options: {
          namespace: DEFAULT_NAMESPACE,
          namespaces: [],
          finalizers: 'refuse',
          keepCrds: false,
          keepRbac: false,
          leaseName: 'gateway-upstream-operator',
          keepLease: false,
          timeoutMs: 300_000,
        },
      },
    ],
    [
      'uninstall --finalizers=orphan --keep-crds --keep-rbac --timeout 90s --namespace gateways --namespaces shop,blog --lease-name=mine --keep-lease',
      {
        kind: 'uninstall',
        kubeconfig: undefined,
        options: {
          namespace: 'gateways',
          namespaces: ['shop', 'blog'],
          finalizers: 'orphan',
          keepCrds: true,
          keepRbac: true,
          leaseName: 'mine',
          keepLease: true,
          timeoutMs: 90_000,
        },
      },
    ],
  ])('%s', (line, command) => {
    expect(readCommand(line.split(' '), {})).toEqual(command);
  });

  it.each([
    ['check', {}, DEFAULT_NAMESPACE],
    ['check', POD, 'gateways'],
    ['check --namespace other', POD, 'other'],
  ])('%s with %o looks into namespace %3$s', (line, env, namespace) => {
    const command = readCommand(line.split(' '), env);
    expect(command).toMatchObject({
      kind: 'check',
      output: 'text',
      config: { operatorNamespace: namespace },
    });
  });

  it('check takes a kubeconfig and a form of output', () => {
    expect(readCommand(['check', '-o', 'json', '--kubeconfig', 'admin'], {})).toMatchObject({
      output: 'json',
      config: { kubeconfig: 'admin' },
    });
  });

  it('plan takes files and what the gateways hold', () => {
    const line = 'plan -f a.yaml -f - --gateway-state held.json --cluster-id eu --only shop --only bank/web';
    expect(readCommand(line.split(' '), POD)).toEqual({
      kind: 'plan',
      output: 'text',
      color: 'auto',
      kubeconfig: undefined,
      options: {
        files: ['a.yaml', '-'],
        gatewayState: 'held.json',
        only: ['shop', 'bank/web'],
        clusterId: 'eu',
        operatorNamespace: 'gateways',
        namespaces: [],
        secretNamespaces: [],
        watchNodes: false,
        readEndpoints: false,
        requestTimeoutMs: 5000,
      },
    });
  });

  it('plan takes a wish for what would take upstreams over', () => {
    const read = (line: string) => readCommand(line.split(' '), POD);
    expect(read('plan -f a')).toMatchObject({ takeOver: undefined });
    expect(read('plan --from-apisix')).toMatchObject({ kind: 'plan', takeOver: { into: undefined } });
    expect(read('plan --from-apisix --into shop')).toMatchObject({ takeOver: { into: 'shop' } });
  });

  it('plan takes a cluster, a form of output and a will about colours', () => {
    const line = 'plan --kubeconfig admin --namespace other -o yaml --color never';
    expect(readCommand(line.split(' '), POD)).toMatchObject({
      kubeconfig: 'admin',
      output: 'yaml',
      color: 'never',
      options: { files: [], operatorNamespace: 'other', clusterId: undefined },
    });
  });

  it.each([
    ['', 'expected a command (run, print, install, uninstall, check, plan), got nothing'],
    ['fly', 'got fly'],
    ['--config x', 'got --config'],
    ['constructor', 'got constructor'],
    ['run away', "'away'"],
    ['run --kubeconfig x', '--kubeconfig'],
    ['run --config', '--config'],
    ['run --help=yes', '--help'],
    ['run --config=', '--config is empty'],
    ['install --namespace Gateways', '--namespace "Gateways" must be the name of a namespace'],
    ['install --namespaces a,,b', '--namespaces "" must be the name of a namespace'],
    ['install --namespaces=', '--namespaces is empty'],
    ['install --secret-namespaces A', '--secret-namespaces "A" must be the name of a namespace'],
    ['print --namespaces a --secret-namespaces a,b', '--secret-namespaces "b" is not one of --namespaces'],
    ['install --long-lived', '--long-lived makes sense only together with --out-of-cluster'],
    ['install --output x', '--output makes sense only together with --out-of-cluster'],
    ['install --force', '--force makes sense only together with --out-of-cluster'],
    ['install --out-of-cluster --crds-only', 'give one of them'],
    ['install --out-of-cluster --long-lived --token-duration 1h', 'remove it, or --token-duration'],
    ['install --out-of-cluster --token-duration 5m', 'Kubernetes makes no token under 10m'],
    ['install --out-of-cluster --token-duration 24', '--token-duration "24" must be a duration'],
    ['install --finalizers=orphan', '--finalizers'],
    ['print --kubeconfig x', '--kubeconfig'],
    ['uninstall --finalizers=keep', '--finalizers must be one of refuse, orphan, delete, not "keep"'],
    ['uninstall --timeout 0s', '--timeout must be more than 0'],
    ['uninstall --crds-only', '--crds-only'],
    ['plan -f a --kubeconfig b', 'give one of them'],
    ['plan -f - --file=-', 'standard input ends once'],
    ['plan --file=', '--file is empty'],
    ['plan --only a/b/c', '--only must be NAMESPACE or NAMESPACE/NAME, not "a/b/c"'],
    ['plan -o xml', '--output must be one of text, json, yaml, not "xml"'],
    ['plan --into shop', '--into makes sense only together with --from-apisix'],
    ['plan --from-apisix --into Shop', '--into "Shop"'],
    ['plan --from-apisix -o yaml', 'remove --only and --output'],
    ['uninstall --lease-name My_Lease', '--lease-name "My_Lease" must be the name of a Lease'],
    ['uninstall --namespaces Shop', '--namespaces "Shop"'],
    ['plan --color blue', '--color must be one of auto, always, never, not "blue"'],
    ['check -o yaml', '--output must be one of text, json, not "yaml"'],
  ])('"%s" is refused with what is wrong and how it goes', (line, part) => {
    const message = refusal(line === '' ? [] : line.split(' '));
    expect(message).toContain(part);
    expect(message).toContain(USAGE);
  });
});

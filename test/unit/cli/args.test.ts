import { describe, expect, it } from 'vitest';
import { type Command, readCommand } from '../../../src/cli/args.ts';
import { COMMANDS, type CommandName, DEFAULT_NAMESPACE } from '../../../src/cli/commands.ts';
import { helpOf } from '../../../src/cli/help.ts';
import { ConfigError } from '../../../src/config/config.ts';

const POD = { POD_NAMESPACE: 'gateways' };

function rejection(argv: readonly string[]): string {
  try {
    readCommand(argv, POD);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return '';
}

const commandNames = Object.keys(COMMANDS) as CommandName[];

describe('--version', () => {
  it('is accepted without a command only', () => {
    expect(readCommand(['--version'], {})).toEqual({ kind: 'version' });
    expect(() => readCommand(['print', '--version'], {})).toThrow('--version');
    expect(helpOf(undefined)).toContain('--version');
  });
});

describe('help', () => {
  it.each([['--help'], ['-h'], ['fly', '-h']])(
    'describes the program and lists the commands for %o',
    (...argv) => {
      const text = helpOf(undefined);
      expect(readCommand(argv, {})).toEqual({ kind: 'help', text });
      for (const name of commandNames) expect(text).toMatch(new RegExp(`^  ${name} +[A-Z]`, 'm'));
    },
  );

  it.each(commandNames)('describes %s with examples and all of its flags', (name) => {
    const command = readCommand([name, '--config', 'missing.yaml', '--help'], {});
    const text = command.kind === 'help' ? command.text : '';
    expect(text).toBe(helpOf(name));
    expect(text).toMatch(new RegExp(`^  .*gateway-upstream-operator ${name}`, 'm'));
    for (const flag of Object.keys(COMMANDS[name].flags)) {
      expect(text).toMatch(new RegExp(`^  (-\\w,|   ) --${flag} `, 'm'));
    }
  });
});

describe('readCommand', () => {
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
  ])('reads %s', (line, command) => {
    expect(readCommand(line.split(' '), {})).toEqual(command);
  });

  it.each([
    ['check', {}, DEFAULT_NAMESPACE],
    ['check', POD, 'gateways'],
    ['check --namespace other', POD, 'other'],
  ])('reads the namespace of the operator from %s with the environment %o', (line, env, namespace) => {
    const command = readCommand(line.split(' '), env);
    expect(command).toMatchObject({
      kind: 'check',
      output: 'text',
      config: { operatorNamespace: namespace },
    });
  });

  it('reads the kubeconfig and the output format of check', () => {
    expect(readCommand(['check', '-o', 'json', '--kubeconfig', 'admin'], {})).toMatchObject({
      output: 'json',
      config: { kubeconfig: 'admin' },
    });
  });

  it('reads the files and the gateway state of plan', () => {
    const line = 'plan -f a.yaml -f - --gateway-state state.json --cluster-id eu --only shop --only bank/web';
    expect(readCommand(line.split(' '), POD)).toEqual({
      kind: 'plan',
      output: 'text',
      color: 'auto',
      kubeconfig: undefined,
      options: {
        files: ['a.yaml', '-'],
        gatewayState: 'state.json',
        registryState: undefined,
        usesRegistries: true,
        only: ['shop', 'bank/web'],
        clusterId: 'eu',
        operatorNamespace: 'gateways',
        namespaces: [],
        secretNamespaces: [],
        watchNodes: false,
        watchRegistries: true,
        readEndpoints: false,
        requestTimeoutMs: 5000,
      },
    });
  });

  it('reads --from-apisix, --into and --registry of plan', () => {
    const read = (line: string) => readCommand(line.split(' '), POD);
    expect(read('plan -f a')).toMatchObject({ takeOver: undefined });
    expect(read('plan --from-apisix')).toMatchObject({
      kind: 'plan',
      takeOver: { into: undefined, registries: [] },
      options: { usesRegistries: false },
    });
    expect(read('plan --from-apisix --into shop --registry a --registry b')).toMatchObject({
      takeOver: { into: 'shop', registries: ['a', 'b'] },
    });
  });

  it('reads --registry-state of plan', () => {
    expect(readCommand(['plan', '--registry-state', 'consul.yaml'], POD)).toMatchObject({
      options: { registryState: 'consul.yaml', usesRegistries: true },
    });
  });

  it('reads the kubeconfig, the output format and the color mode of plan', () => {
    const line = 'plan --kubeconfig admin --namespace other -o yaml --color never';
    expect(readCommand(line.split(' '), POD)).toMatchObject({
      kubeconfig: 'admin',
      output: 'yaml',
      color: 'never',
      options: { files: [], operatorNamespace: 'other', clusterId: undefined },
    });
  });

  it.each([
    ['', 'no command given: expected one of run, install, print, uninstall, check, plan'],
    ['fly', 'unknown command "fly"'],
    ['--config x', 'unknown command "--config"'],
    ['constructor', 'unknown command "constructor"'],
    ['run away', "'away'"],
    ['run --kubeconfig x', "Unknown option '--kubeconfig'\n"],
    ['run --config', '--config'],
    ['run --help=yes', '--help'],
    ['run --config=', '--config must not be empty'],
    ['install --namespace Gateways', '--namespace "Gateways" must be a namespace name'],
    ['install --namespaces a,,b', '--namespaces "" must be a namespace name'],
    ['install --namespaces=', '--namespaces must not be empty'],
    ['install --secret-namespaces A', '--secret-namespaces "A" must be a namespace name'],
    ['print --namespaces a --secret-namespaces a,b', '--secret-namespaces "b" is missing from --namespaces'],
    ['install --long-lived', '--long-lived requires --out-of-cluster'],
    ['install --output x', '--output requires --out-of-cluster'],
    ['install --force', '--force requires --out-of-cluster'],
    ['install --out-of-cluster --crds-only', 'remove one of them'],
    ['install --out-of-cluster --long-lived --token-duration 1h', 'remove it or --token-duration'],
    ['install --out-of-cluster --token-duration 5m', '--token-duration must be at least 10m, not 5m'],
    ['install --out-of-cluster --token-duration 24', '--token-duration "24" must be a duration'],
    ['install --finalizers=orphan', '--finalizers'],
    ['print --kubeconfig x', '--kubeconfig'],
    ['uninstall --finalizers=keep', '--finalizers must be one of refuse, orphan, delete, not "keep"'],
    ['uninstall --timeout 0s', '--timeout must be greater than 0'],
    ['uninstall --crds-only', '--crds-only'],
    ['plan -f a --kubeconfig b', 'remove one of them'],
    ['plan -f - --file=-', 'standard input can be read only once'],
    ['plan --file=', '--file must not be empty'],
    ['plan --only a/b/c', '--only must be NAMESPACE or NAMESPACE/NAME, not "a/b/c"'],
    ['plan -o xml', '--output must be one of text, json, yaml, not "xml"'],
    ['plan --into shop', '--into requires --from-apisix'],
    ['plan --from-apisix --into Shop', '--into "Shop"'],
    ['plan --from-apisix -o yaml', 'remove --only and --output'],
    ['uninstall --lease-name My_Lease', '--lease-name "My_Lease" must be a Lease name'],
    ['uninstall --namespaces Shop', '--namespaces "Shop"'],
    ['plan --color blue', '--color must be one of auto, always, never, not "blue"'],
    ['check -o yaml', '--output must be one of text, json, not "yaml"'],
  ])('rejects "%s" with the problem and the command that shows the usage', (line, part) => {
    const message = rejection(line === '' ? [] : line.split(' '));
    expect(message).toContain(part);
    const [name = ''] = line.split(' ');
    const command = Object.hasOwn(COMMANDS, name) ? ` ${name}` : '';
    expect(message).toContain(`Run "gateway-upstream-operator${command} --help" for usage.`);
  });
});

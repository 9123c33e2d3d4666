import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** The files of the integration core, which `npm test` runs: they prove the main paths in about two minutes. */
const CORE = [
  'admission',
  'check',
  'docs',
  'finalizers',
  'grants',
  'operator',
  'plan',
  'secrets',
  'sets',
  'taking-over',
].map((name) => `test/integration/${name}.test.ts`);

/** These run a tenth of their cases in `npm test`, and all in `npm run test:all`: see test/support/fuzz-cases.ts. */
const FUZZ = ['fuzz-api-server', 'fuzz-gateway', 'fuzz-registries', 'random-specs'].map(
  (name) => `test/contract/${name}.test.ts`,
);

/** Minutes on real registries, outside CI. The same rows run on Consul in CI, and each source has its own suite there. */
const LONG = [
  'docs-registries-nacos',
  'registry-faults-eureka',
  'registry-faults-nacos',
  'registry-faults-zookeeper',
].map((name) => `test/integration/${name}.test.ts`);

const ON_A_CLUSTER = {
  globalSetup: ['test/support/control-plane-setup.ts'],
  testTimeout: 180_000,
  // The first run on a machine may build helm or promtool in a hook.
  hookTimeout: 1_200_000,
  // Each worker has a control plane of its own, of about 400 MB.
  maxWorkers: Math.min(4, availableParallelism()),
};

/** The files share one real cluster, so they run in one process, one after the other. */
const ON_A_REAL_CLUSTER = {
  testTimeout: 300_000,
  hookTimeout: 300_000,
  maxWorkers: 1,
  isolate: false,
  fileParallelism: false,
};

/** Which project a file belongs to decides which command runs it: see test/run/steps.ts. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          testTimeout: 60_000,
          // Files keep no state in modules. One graph of modules for all of them halves the time.
          isolate: false,
        },
      },
      {
        test: {
          name: 'contract',
          include: ['test/contract/**/*.test.ts'],
          testTimeout: 60_000,
          isolate: false,
        },
      },
      {
        test: {
          name: 'fuzz',
          include: FUZZ,
          env: { FUZZ: 'full' },
          testTimeout: 60_000,
        },
      },
      {
        test: {
          ...ON_A_CLUSTER,
          name: 'integration-core',
          include: CORE,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...ON_A_CLUSTER,
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          exclude: [...CORE, ...LONG],
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: {
          ...ON_A_CLUSTER,
          name: 'integration-long',
          include: LONG,
          sequence: { groupOrder: 5 },
        },
      },
      {
        test: {
          ...ON_A_REAL_CLUSTER,
          name: 'e2e',
          include: ['test/e2e/core.test.ts'],
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          ...ON_A_REAL_CLUSTER,
          name: 'e2e-long',
          include: ['test/e2e/**/*.test.ts'],
          exclude: ['test/e2e/core.test.ts'],
          sequence: { groupOrder: 4 },
        },
      },
    ],
  },
});

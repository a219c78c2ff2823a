// All cases, in the order in which they are told.

import type { Case } from '../case.ts'
import { frameCases } from './frames.ts'
import { introductionCases } from './introduction.ts'
import { managerClientCases } from './manager-clients.ts'
import { managerInventoryCases } from './manager-inventory.ts'
import { managerLossCases } from './manager-losses.ts'
import { managerOutcomeCases } from './manager-outcomes.ts'
import { managerRefusalCases } from './manager-refusals.ts'
import { managerWorkerCases } from './manager-workers.ts'
import { requestCases } from './requests.ts'
import { upgradeCases } from './upgrade.ts'
import { workerAbortCases } from './worker-aborts.ts'
import { workerAskingCases } from './worker-asking.ts'
import { workerAsksCases } from './worker-asks.ts'
import { workerOutcomeCases } from './worker-outcomes.ts'
import { workerOutputCases } from './worker-output.ts'
import { workerPartingCases } from './worker-parting.ts'
import { workerProgramCases } from './worker-programs.ts'
import { workerTakingCases } from './worker-taking.ts'

export const cases: readonly Case[] = [
  ...upgradeCases,
  ...frameCases,
  ...introductionCases,
  ...requestCases,
  ...workerAskingCases,
  ...workerAsksCases,
  ...workerPartingCases,
  ...workerOutcomeCases,
  ...workerTakingCases,
  ...workerProgramCases,
  ...workerAbortCases,
  ...workerOutputCases,
  ...managerWorkerCases,
  ...managerInventoryCases,
  ...managerLossCases,
  ...managerOutcomeCases,
  ...managerRefusalCases,
  ...managerClientCases,
]

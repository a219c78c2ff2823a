// All cases, in the order in which they are told.

import type { Case } from '../case.ts'
import { frameCases } from './frames.ts'
import { introductionCases } from './introduction.ts'
import { managerRelationshipCases } from './manager-relationship.ts'
import { managerTaskCases } from './manager-tasks.ts'
import { requestCases } from './requests.ts'
import { upgradeCases } from './upgrade.ts'
import { workerOutputCases } from './worker-output.ts'
import { workerRelationshipCases } from './worker-relationship.ts'
import { workerTaskCases } from './worker-tasks.ts'

export const cases: readonly Case[] = [
  ...upgradeCases,
  ...frameCases,
  ...introductionCases,
  ...requestCases,
  ...workerRelationshipCases,
  ...workerTaskCases,
  ...workerOutputCases,
  ...managerRelationshipCases,
  ...managerTaskCases,
]

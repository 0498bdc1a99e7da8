package handlers

import "ratelimiter/models"

// Operation holds the Go types of an operation. The API description is
// generated from them and their tags.
type Operation struct {
	Input  any // filled from the request; nil: the operation takes nothing
	Output any // encoded as the body of a success; nil: no JSON body
}

// Operations returns the types of all operations, by operationId.
func Operations() map[string]Operation {
	return map[string]Operation{
		"listProducts": {page{}, List[models.Product]{}},
		"getProduct":   {byID{}, models.Product{}},

		"createOrder": {placeOrder{}, models.Order{}},
		"listOrders":  {page{}, List[models.Order]{}},
		"getOrder":    {byID{}, models.Order{}},
		"cancelOrder": {byID{}, models.Order{}},
		"getInvoice":  {byID{}, nil},

		"checkLimit":   {check{}, checkLimitResponse{}},
		"reserveLimit": {check{}, reserveLimitResponse{}},
		"commitLimit":  {commit{}, nil},
		"releaseLimit": {release{}, nil},

		"getMe":          {nil, OwnKeyWithQuota{}},
		"getMyLimits":    {nil, KeyLimits{}},
		"rotateMe":       {myRotation{}, OwnKeyWithSecret{}},
		"getMyUsage":     {historyQuery{}, UsageHistory{}},
		"listMyRefusals": {listRefusals{}, List[Refusal]{}},

		"listKeys":        {listKeys{}, List[Key]{}},
		"createKey":       {makeKey{}, KeyWithSecret{}},
		"getKey":          {byID{}, KeyWithQuota{}},
		"updateKey":       {changeKey{}, Key{}},
		"rotateKey":       {rotation{}, KeyWithSecret{}},
		"revokeKey":       {revocation{}, Key{}},
		"revokeKeys":      {revokeMany{}, RevokedKeys{}},
		"suspendKey":      {versionedKey{}, Key{}},
		"resumeKey":       {versionedKey{}, Key{}},
		"resetKey":        {counterReset{}, nil},
		"getKeyLimits":    {byID{}, KeyLimits{}},
		"getKeyUsage":     {historyOfKey{}, UsageHistory{}},
		"listKeyRefusals": {refusalsOfKey{}, List[Refusal]{}},
		"simulateKey":     {simulateKey{}, Simulation{}},

		"listPlans":  {page{}, List[Plan]{}},
		"getPlan":    {byName{}, Plan{}},
		"putPlan":    {replacePlan{}, Plan{}},
		"deletePlan": {versionedPlan{}, nil},

		"getLimiter": {nil, LimiterMode{}},
		"putLimiter": {switchLimiter{}, LimiterMode{}},

		"listQueues":         {nil, QueueGroups{}},
		"pauseQueue":         {byGroup{}, models.QueueGroup{}},
		"resumeQueue":        {byGroup{}, models.QueueGroup{}},
		"listDeadLetters":    {listDeadLetters{}, List[models.DeadLetter]{}},
		"redriveDeadLetters": {redriveMany{}, Redriven{}},
		"redriveDeadLetter":  {byID{}, Redriven{}},
		"discardDeadLetter":  {byID{}, nil},

		"listAudit": {listAudit{}, List[models.AuditEntry]{}},

		"livez":  {nil, healthStatus{}},
		"readyz": {nil, healthStatus{}},
	}
}

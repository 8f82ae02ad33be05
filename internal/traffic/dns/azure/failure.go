package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// pending is what Azure says of a set that another request is changing.
const pending = "Another operation is pending"

// entra is the code of what Microsoft Entra ID says of credentials.
var entra = regexp.MustCompile(`AADSTS[0-9]+`)

// failure is an error of the client in our words. What comes with an error of credentials may tell of them, and is left out but for its
// code.
func failure(err error) error {
	if api, answered := errors.AsType[*azcore.ResponseError](err); answered {
		return refusal(api)
	}
	_, network := errors.AsType[net.Error](err)
	login, failed := errors.AsType[*azidentity.AuthenticationFailedError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return fault.New(fault.Unavailable, "it does not answer in time").WithHint("see whether its API is reached from here")
	case failed && login.RawResponse != nil && login.RawResponse.StatusCode >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "it does not answer as expected: the login to Azure answers %d", login.RawResponse.StatusCode).
			WithHint("see the status of Azure")
	case failed:
		code := entra.FindString(login.Error())
		if code == "" {
			code = "no code"
		}
		return fault.New(fault.Failed, "there is no login to Azure with these credentials (%s)", code).
			WithHint("see the code at https://login.microsoftonline.com/error, and correct the AZURE_... variables, or the identity of the machine or of az login")
	case strings.Contains(err.Error(), "failed to acquire a token"):
		return fault.New(fault.Failed, "there are no credentials for it").
			WithHint("set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or give the machine a managed identity, or log in with az login, where crossfade runs")
	case network:
		return fault.New(fault.Unavailable, "it does not answer: %s", line(err.Error())).WithHint("see whether its API is reached from here")
	default:
		return fault.New(fault.Unavailable, "it does not answer as expected: %s", line(err.Error())).WithHint("see whether its API is reached from here")
	}
}

// refusal is an answer of Azure Resource Manager or of Azure DNS that is an error.
func refusal(api *azcore.ResponseError) error {
	said := message(api)
	switch status := api.StatusCode; {
	case status == http.StatusPreconditionFailed:
		return dns.ErrCollision
	case status == http.StatusConflict && strings.Contains(said, "already exists"):
		return fault.New(fault.Refused, "it refuses the change: %s", line(said)).
			WithHint("a CNAME stands alone: move the other records to another name, or lead users by another name")
	case status == http.StatusConflict && strings.Contains(said, pending), status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return fault.New(fault.Unavailable, "it is busy (%s)", codeOf(api)).WithHint("see who else asks the API of the subscription, and the status of Azure")
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fault.New(fault.Failed, "it does not let us (%s)", codeOf(api)).
			WithHint("give the credentials the role DNS Zone Contributor in the resource group or the zone, and with trafficManager also Traffic Manager Contributor in the resource group")
	case status == http.StatusNotFound, strings.Contains(api.ErrorCode, "InvalidSubscriptionId"):
		return fault.New(fault.Invalid, "it has no such zone (%s)", codeOf(api)).WithHint("correct the zone, the subscription or the resourceGroup of the router")
	default:
		return fault.New(fault.Failed, "it answers %s: %s", codeOf(api), line(said)).WithHint("see the zone and its locks in Azure")
	}
}

// codeOf is the code of an answer, or its status where it has none.
func codeOf(api *azcore.ResponseError) string {
	if api.ErrorCode == "" {
		return fmt.Sprint(api.StatusCode)
	}
	return api.ErrorCode
}

// message is what an answer says for people: at its top, as Azure DNS has it, or below error, as Azure Resource Manager has it.
func message(api *azcore.ResponseError) string {
	var body struct {
		Message string
		Error   struct{ Message string }
	}
	raw, err := runtime.Payload(api.RawResponse) // which may be read again
	if err != nil || json.Unmarshal(raw, &body) != nil {
		return "no message"
	}
	return body.Message + body.Error.Message
}

// line is a text of others on one line, of a length that people read.
func line(text string) string {
	const most = 300
	text = strings.Join(strings.Fields(text), " ")
	return text[:min(len(text), most)]
}

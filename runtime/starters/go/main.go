// {{name}}: finds a contact by its email address, or creates it.
package main

import "{{name}}/portcullis"

const contacts = "https://api.example.com/v1/contacts"

type input struct {
	Email string  `json:"email"`
	Name  *string `json:"name,omitempty"`
}

type contact struct {
	ID string `json:"id"`
}

type output struct {
	ID      string `json:"id"`
	Created bool   `json:"created"`
}

func findOrCreateContact(_ portcullis.Call, in input) (output, error) {
	find := func() (*contact, error) {
		var matches struct {
			Items []contact `json:"items"`
		}
		request := portcullis.Request{Method: "GET", URL: contacts, Credential: "default"}.Query("email", in.Email)
		if err := request.Do(&matches); err != nil || len(matches.Items) == 0 {
			return nil, err
		}
		return &matches.Items[0], nil
	}
	create := func() (*contact, error) {
		var made contact
		err := portcullis.Request{Method: "POST", URL: contacts, Credential: "default"}.JSON(in).Do(&made)
		return &made, err
	}
	found, created, err := portcullis.FindOrCreate(find, create)
	if err != nil {
		return output{}, err
	}
	portcullis.Info("the contact is %s", map[bool]string{true: "new", false: "known"}[created])
	return output{found.ID, created}, nil
}

func init() {
	portcullis.Register(map[string]portcullis.Action{
		"find-or-create-contact": portcullis.Typed(findOrCreateContact),
	})
}

func main() {}
